package workbench;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.rpc.RpcSystem;
import org.apache.flink.runtime.rpc.RpcSystemLoader;
import org.apache.flink.runtime.rpc.exceptions.RpcLoaderException;

/**
 * Flink's actors from the class path, where they are on it: once for a JVM, and out of its archive.
 *
 * <p>(Flink's own loader, which is asked where this one finds none, copies their jar to a file and
 * loads 1,500 classes from there for each mini cluster anew.)
 */
public final class RpcOnClassPath implements RpcSystemLoader {
    private static final String ACTORS = "org.apache.flink.runtime.rpc.pekko.PekkoRpcSystem";

    @Override
    public int getLoadPriority() {
        return -1; // Flink's own is 0, and the least is asked first
    }

    @Override
    public RpcSystem loadRpcSystem(Configuration configuration) {
        try {
            return (RpcSystem) Class.forName(ACTORS).getConstructor().newInstance();
        } catch (ReflectiveOperationException err) {
            throw new RpcLoaderException(err);
        }
    }
}
