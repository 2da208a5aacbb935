import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.io.JsonEncoder;
import org.apache.pulsar.client.api.schema.SchemaInfoProvider;
import org.apache.pulsar.client.impl.schema.AutoConsumeSchema;
import org.apache.pulsar.client.impl.schema.generic.GenericAvroRecord;
import org.apache.pulsar.client.impl.schema.generic.GenericSchemaImpl;
import org.apache.pulsar.common.schema.SchemaInfo;
import org.apache.pulsar.common.schema.SchemaType;

/**
 * What the Java client makes of values: one topic a line in, what it decodes a line out.
 *
 * A topic is {"type", "schemas": [definition...], "messages": [[version, base64]...]}. An answer is a
 * list with an item for each message: the record by the newest schema in Avro's JSON encoding, or
 * the text of a primitive; {"error": class} where the client throws.
 */
public class Oracle {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        JSON.getFactory().enable(JsonGenerator.Feature.ESCAPE_NON_ASCII);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode topic = JSON.readTree(line);
            ArrayNode answers = JSON.createArrayNode();
            String type = topic.get("type").asText();
            for (JsonNode message : topic.get("messages")) {
                byte[] raw = Base64.getDecoder().decode(message.get(1).asText());
                try {
                    answers.add(type.equals("AVRO") ? record(topic, message.get(0).asLong(), raw) : primitive(type, raw));
                } catch (Throwable thrown) {
                    Throwable cause = thrown;
                    while (cause.getCause() != null) {
                        cause = cause.getCause();
                    }
                    ObjectNode error = JSON.createObjectNode();
                    error.put("error", cause.getClass().getSimpleName());
                    answers.add(error);
                }
            }
            System.out.println("answers " + JSON.writeValueAsString(answers)); // the client logs, too
        }
    }

    private static JsonNode record(JsonNode topic, long version, byte[] raw) throws Exception {
        JsonNode schemas = topic.get("schemas");
        SchemaInfo newest = info(schemas.get(schemas.size() - 1));
        GenericSchemaImpl schema = GenericSchemaImpl.of(newest);
        schema.setSchemaInfoProvider(new Versions(schemas));
        byte[] number = ByteBuffer.allocate(8).putLong(version).array();
        GenericAvroRecord record = (GenericAvroRecord) schema.decode(raw, number);
        org.apache.avro.generic.GenericRecord avro = record.getAvroRecord();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        JsonEncoder encoder = EncoderFactory.get().jsonEncoder(avro.getSchema(), out);
        new GenericDatumWriter<>(avro.getSchema()).write(avro, encoder);
        encoder.flush();
        return JSON.readTree(out.toByteArray());
    }

    private static JsonNode primitive(String type, byte[] raw) {
        SchemaInfo info = SchemaInfo.builder().name("").type(SchemaType.valueOf(type)).schema(new byte[0]).build();
        Object value = AutoConsumeSchema.getSchema(info).decode(raw);
        if (value instanceof java.util.Date) {
            return JSON.getNodeFactory().textNode(Long.toString(((java.util.Date) value).getTime()));
        }
        if (value instanceof byte[]) {
            return JSON.getNodeFactory().textNode(Base64.getEncoder().encodeToString((byte[]) value));
        }
        return JSON.getNodeFactory().textNode(String.valueOf(value));
    }

    private static SchemaInfo info(JsonNode definition) {
        byte[] text = definition.toString().getBytes(StandardCharsets.UTF_8);
        return SchemaInfo.builder().name("t").type(SchemaType.AVRO).schema(text).build();
    }

    /** The broker's part: the schema of a version. */
    private record Versions(JsonNode schemas) implements SchemaInfoProvider {
        @Override
        public CompletableFuture<SchemaInfo> getSchemaByVersion(byte[] version) {
            int number = (int) ByteBuffer.wrap(version).getLong();
            return CompletableFuture.completedFuture(info(schemas.get(number)));
        }

        @Override
        public CompletableFuture<SchemaInfo> getLatestSchema() {
            return CompletableFuture.completedFuture(info(schemas.get(schemas.size() - 1)));
        }

        @Override
        public String getTopicName() {
            return "t";
        }
    }
}
