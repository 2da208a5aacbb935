import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import org.apache.pulsar.client.api.CryptoKeyReader;
import org.apache.pulsar.client.api.EncryptionKeyInfo;
import org.apache.pulsar.client.impl.crypto.MessageCryptoBc;
import org.apache.pulsar.common.api.proto.MessageMetadata;

/**
 * What the Java client makes of payloads that it encrypts: a line for each of the public keys in a folder,
 * with the name of the key, the metadata and the payload, base64.
 */
public class Encrypt {
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        for (int i = 1; i < arguments.length; i++) {
            String name = arguments[i];
            MessageMetadata metadata = new MessageMetadata()
                .setProducerName("producer").setSequenceId(i).setPublishTime(1_700_000_000_000L);
            ByteBuffer out = ByteBuffer.allocate(1 << 12);
            byte[] payload = ("a reading encrypted for " + name).getBytes("UTF-8");
            new MessageCryptoBc("oracle", true).encrypt(
                Set.of(name), new Keys(folder), () -> metadata, ByteBuffer.wrap(payload), out);
            byte[] encrypted = new byte[out.remaining()];
            out.get(encrypted);
            Base64.Encoder base64 = Base64.getEncoder();
            System.out.println("answers " + name + " " + base64.encodeToString(metadata.toByteArray())
                + " " + base64.encodeToString(encrypted));
        }
        System.exit(0);
    }

    private record Keys(Path folder) implements CryptoKeyReader {
        @Override
        public EncryptionKeyInfo getPublicKey(String name, Map<String, String> metadata) {
            EncryptionKeyInfo info = new EncryptionKeyInfo();
            try {
                info.setKey(Files.readAllBytes(folder.resolve(name + ".public")));
            } catch (java.io.IOException err) {
                throw new RuntimeException(err);
            }
            info.setMetadata(Map.of("site", "north"));
            return info;
        }

        @Override
        public EncryptionKeyInfo getPrivateKey(String name, Map<String, String> metadata) {
            return null;
        }
    }
}
