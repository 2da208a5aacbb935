package org.apache.flink.client.python;

import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.api.python.shaded.py4j.CallbackClient;
import org.apache.flink.api.python.shaded.py4j.Gateway;
import org.apache.flink.api.python.shaded.py4j.GatewayServer;

/**
 * The process in which Python's commands to Flink are carried out.
 *
 * <p>In place of PyFlink's class of this name, which carries out those of everybody on this
 * machine. This one wants a token first, and sends one with what it asks of Python.
 */
public class PythonGatewayServer {
    private static final long PAUSE_MS = 100;

    public static Watchdog watchdog = () -> true;

    /** Whether the process that started this one is still there. */
    public interface Watchdog {
        boolean ping() throws InterruptedException;
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        String token = Objects.requireNonNull(System.getenv("WORKBENCH_GATEWAY_TOKEN"));
        Thread end = new Thread(PythonGatewayServer::endWithPython, "end with Python");
        end.setDaemon(true);
        end.start();
        InetAddress here = InetAddress.getLoopbackAddress();
        Map<String, Object> objects = new ConcurrentHashMap<>();
        Gateway gateway = new Gateway(objects, new CallbackClient(0, here, token));
        GatewayServer server =
                new GatewayServer.GatewayServerBuilder()
                        .gateway(gateway)
                        .javaPort(0)
                        .authToken(token)
                        .build();
        PythonEnvUtils.setGatewayServer(server);
        server.start(true);
        tell(server.getListeningPort(), Path.of(System.getenv("_PYFLINK_CONN_INFO_PATH")));
        try {
            stay(objects);
        } finally {
            System.exit(0);
        }
    }

    private static void tell(int port, Path path) throws IOException {
        Path part = Files.createTempFile(path.getParent(), "connection", ".info");
        try (DataOutputStream stream = new DataOutputStream(Files.newOutputStream(part))) {
            stream.writeInt(port);
        }
        Files.move(part, path, StandardCopyOption.ATOMIC_MOVE);
    }

    /** Reads what Python never writes: to the end, which comes with Python's, however that is. */
    private static void endWithPython() {
        try {
            while (System.in.read() >= 0) {}
        } catch (IOException err) {
            // as good as the end
        }
        System.exit(0);
    }

    private static void stay(Map<String, Object> objects) throws InterruptedException {
        while (!objects.containsKey("Watchdog")) {
            Thread.sleep(PAUSE_MS); // Python imports meanwhile
        }
        Watchdog parent = (Watchdog) objects.get("Watchdog");
        while (parent != null && parent.ping()) {
            Thread.sleep(PAUSE_MS);
        }
    }
}
