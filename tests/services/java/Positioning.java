package workbench;

import java.util.Arrays;
import org.apache.flink.connector.pulsar.source.enumerator.cursor.CursorPosition;
import org.apache.pulsar.client.api.AuthenticationFactory;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.PulsarClient;

/** Puts subscriptions at the begin of topics, as a job does that starts, and lives on. */
public final class Positioning {

    public static void main(String[] args) throws Exception {
        String url = args[0], token = args[1], subscription = args[2];
        try (PulsarClient client =
                PulsarClient.builder()
                        .serviceUrl(url)
                        .authentication(AuthenticationFactory.token(token))
                        .build()) {
            for (String topic : Arrays.asList(args).subList(3, args.length)) {
                new CursorPosition(MessageId.earliest, true).setupSubPosition(client, topic, subscription);
            }
            System.out.println("positioned");
            System.in.read();
        }
    }
}
