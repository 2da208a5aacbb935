import java.util.Optional;
import org.apache.pulsar.metadata.api.MetadataStore;
import org.apache.pulsar.metadata.api.MetadataStoreConfig;
import org.apache.pulsar.metadata.api.MetadataStoreFactory;

/**
 * Takes the bookies out of the metadata of a standalone Pulsar that does not run.
 *
 * <p>A bookie registers when it starts. One that was killed still stands there when it is started
 * again, removes that entry, and may then take its own removal for a loss: it registers anew, some
 * hundred times a second and for ever, and whoever needs a ledger in between finds no bookie (Pulsar
 * 4.0.8, ResourceLockImpl: a bookie's entry never equals what is read back of it).
 */
public final class ForgetBookies {
    private static final String REGISTERED = "/ledgers/available";

    public static void main(String[] metadata) {
        try {
            forget(metadata[0]);
        } catch (Exception err) {
            Throwable cause = err;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            System.err.println(cause.getMessage());
            System.exit(1);
        }
        System.exit(0); // the store leaves threads behind
    }

    private static void forget(String metadata) throws Exception {
        MetadataStoreConfig config = MetadataStoreConfig.builder().build();
        try (MetadataStore store = MetadataStoreFactory.create("rocksdb://" + metadata, config)) {
            for (String bookie : store.getChildren(REGISTERED).join()) {
                if (!bookie.equals("readonly")) { // no bookie: those that take no more writes
                    store.delete(REGISTERED + "/" + bookie, Optional.empty()).join();
                }
            }
        }
    }

    private ForgetBookies() {}
}
