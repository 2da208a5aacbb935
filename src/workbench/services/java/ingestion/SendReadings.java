import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.pulsar.client.api.AuthenticationFactory;
import org.apache.pulsar.client.api.ClientBuilder;
import org.apache.pulsar.client.api.CompressionType;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProducerBuilder;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.common.schema.SchemaInfo;
import org.apache.pulsar.common.schema.SchemaType;

/**
 * Sends readings that another process has encoded, as fast as the broker takes them.
 *
 * <p>What to do stands on stdin, which `senders/java.py` writes: settings, the names of sensors, and
 * blocks of readings, column by column, until one of no rows. What was done stands on stdout, a line
 * each: `ready`, `taken ID` (the last that was acknowledged), `done`, or `refused WHY`. A stdin that ends
 * early ends the sending: what was read whole before is sent, and its number told.
 */
public final class SendReadings {
    private static final int TELL_EVERY = 20_000; // acknowledged readings
    private static final int PENDING = 50_000; // messages, some 1 KiB each while they wait
    private static final int ACKNOWLEDGE_S = 60;

    private final Producer<byte[]> producer;
    private final String[] sensors;
    private final PrintStream out;
    private final AtomicLong taken = new AtomicLong();
    private final AtomicReference<Throwable> refusal = new AtomicReference<>();

    public static void main(String[] arguments) {
        PrintStream out = System.out;
        System.setOut(System.err); // whatever logs is not the answer
        int code = 1;
        try {
            run(new DataInputStream(new FileInputStream(FileDescriptor.in)), out);
            code = 0;
        } catch (Throwable err) {
            tell(out, "refused " + reason(err));
        }
        Runtime.getRuntime().halt(code); // the client's threads would linger for seconds
    }

    private static void run(DataInputStream in, PrintStream out) throws Exception {
        String url = text(in);
        String token = text(in);
        ClientBuilder builder = PulsarClient.builder().serviceUrl(url).ioThreads(1);
        if (!token.isEmpty()) {
            builder.authentication(AuthenticationFactory.token(token));
        }
        try (PulsarClient client = builder.build();
                Producer<byte[]> producer = producer(client, in)) {
            String[] sensors = new String[in.readInt()];
            for (int i = 0; i < sensors.length; i++) {
                sensors[i] = text(in);
            }
            tell(out, "ready");
            new SendReadings(producer, sensors, out).send(in);
        }
        tell(out, "done");
    }

    private static Producer<byte[]> producer(PulsarClient client, DataInputStream in)
            throws IOException {
        Encoded schema = new Encoded(SchemaType.valueOf(text(in)), text(in));
        ProducerBuilder<byte[]> builder =
                client.newProducer(schema)
                        .topic(text(in))
                        .compressionType(CompressionType.valueOf(text(in)))
                        .batchingMaxMessages(in.readInt())
                        .batchingMaxPublishDelay(1, TimeUnit.SECONDS) // full batches
                        .maxPendingMessages(PENDING)
                        .blockIfQueueFull(true);
        String name = text(in);
        return (name.isEmpty() ? builder : builder.producerName(name)).create();
    }

    private SendReadings(Producer<byte[]> producer, String[] sensors, PrintStream out) {
        this.producer = producer;
        this.sensors = sensors;
        this.out = out;
    }

    private void send(DataInputStream in) throws Exception {
        try {
            for (int rows = in.readInt(); rows > 0; rows = in.readInt()) {
                sendBlock(in.readLong(), rows, block(in));
                if (refusal.get() != null) {
                    break;
                }
            }
        } catch (EOFException end) {
            finish();
            throw new IOException("what was to be sent ended early");
        }
        finish();
    }

    /** Sends a block: event times, sensors, where payloads begin (and the last ends), payloads. */
    private void sendBlock(long sequenceId, int rows, ByteBuffer block) {
        int offsets = rows * (Long.BYTES + Integer.BYTES);
        int payloads = offsets + (rows + 1) * Integer.BYTES;
        for (int row = 0; row < rows && refusal.get() == null; row++) {
            long number = sequenceId + row;
            int begin = block.getInt(offsets + row * Integer.BYTES);
            byte[] payload = new byte[block.getInt(offsets + (row + 1) * Integer.BYTES) - begin];
            block.get(payloads + begin, payload);
            producer.newMessage()
                    .key(sensors[block.getInt(rows * Long.BYTES + row * Integer.BYTES)])
                    .eventTime(block.getLong(row * Long.BYTES))
                    .sequenceId(number)
                    .value(payload)
                    .sendAsync()
                    .whenComplete((id, err) -> answered(number, err));
        }
    }

    private void answered(long number, Throwable err) {
        if (err != null) {
            refusal.compareAndSet(null, err);
        } else if (refusal.get() == null) { // what follows a refusal leaves a hole
            taken.set(number);
            if (number % TELL_EVERY == 0) {
                tell(out, "taken " + number);
            }
        }
    }

    private void finish() throws Exception {
        try {
            producer.flushAsync().get(ACKNOWLEDGE_S, TimeUnit.SECONDS);
        } finally {
            tell(out, "taken " + taken.get());
        }
        if (refusal.get() != null) {
            throw new IOException(reason(refusal.get()));
        }
    }

    private static ByteBuffer block(DataInputStream in) throws IOException {
        byte[] bytes = new byte[in.readInt()];
        in.readFully(bytes);
        return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static String text(DataInputStream in) throws IOException {
        byte[] bytes = new byte[in.readInt()];
        in.readFully(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static void tell(PrintStream out, String line) {
        synchronized (out) {
            out.print(line + "\n");
            out.flush();
        }
    }

    private static String reason(Throwable err) {
        while (err.getCause() != null) {
            err = err.getCause();
        }
        String message = err.getMessage();
        return (message == null ? err.toString() : message).replaceAll("\\s+", " ");
    }

    /** The schema of payloads that are encoded already. */
    private static final class Encoded implements Schema<byte[]> {
        private final SchemaInfo info;

        Encoded(SchemaType type, String definition) {
            byte[] bytes = definition.getBytes(StandardCharsets.UTF_8);
            info = SchemaInfo.builder()
                    .name("Reading").type(type).schema(bytes).properties(Map.of()).build();
        }

        @Override
        public byte[] encode(byte[] payload) {
            return payload;
        }

        @Override
        public SchemaInfo getSchemaInfo() {
            return info;
        }

        @Override
        public Schema<byte[]> clone() {
            return this;
        }
    }
}
