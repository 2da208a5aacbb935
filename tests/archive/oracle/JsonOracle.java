import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import org.apache.avro.reflect.AvroSchema;
import org.apache.pulsar.client.api.schema.SchemaDefinition;
import org.apache.pulsar.client.api.schema.SchemaInfoProvider;
import org.apache.pulsar.client.impl.schema.JSONSchema;
import org.apache.pulsar.client.impl.schema.generic.GenericJsonRecord;
import org.apache.pulsar.client.impl.schema.generic.GenericSchemaImpl;
import org.apache.pulsar.common.schema.SchemaInfo;
import org.apache.pulsar.common.schema.SchemaType;

/**
 * What the Java client makes of JSON values: one topic a line in, what it decodes a line out.
 *
 * A topic is {"pojo": class or null, "schemas": [definition...], "messages": [[version, bytes as
 * latin-1]...]}. An answer is {"generic": [...], "pojos": [...]} with an item for each message: what
 * GenericJsonRecord gives, field by field, and the POJO. JSON has too few types, so one is named
 * where it is not told by the value: {"double": "1.5"}, {"bytes": base64}, {"array": [...]},
 * {"object": {...}}. {"error": class} where the client throws.
 *
 * With "write SEED N": what the client writes of N random POJOs of each class, what these hold, and
 * their schema.
 */
public class JsonOracle {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonNodeFactory NODES = JsonNodeFactory.withExactBigDecimals(true);

    public enum Color { RED, GREEN, BLUE }

    public static class Numbers {
        public int whole;
        public Integer wholeOrNull;
        public long count;
        public Long countOrNull;
        public float ratio;
        public Float ratioOrNull;
        public double value;
        public Double valueOrNull;
        public boolean flag;
        public String name;
    }

    public static class Texts {
        public String text;
        public Color color;
        public byte[] raw;
        public BigDecimal amount;
        @AvroSchema("[\"null\",{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":12,\"scale\":3}]")
        public BigDecimal price;
        public UUID id;
        public short small;
    }

    public static class Times {
        public Instant at;
        public LocalDate day;
        public LocalTime hour;
        public LocalDateTime local;
    }

    public static class Inner {
        public int a;
        public Long b;
        public Color c;
        public List<Double> values;
    }

    public static class Nested {
        public Inner inner;
        public List<Inner> list;
        public Map<String, Inner> map;
        public int[] numbers;
        public Map<String, String> labels;
        public List<List<String>> rows;
    }

    private static final Map<String, Class<?>> POJOS =
            Map.of("Numbers", Numbers.class, "Texts", Texts.class, "Times", Times.class, "Nested", Nested.class);

    public static void main(String[] arguments) throws Exception {
        JSON.getFactory().enable(JsonGenerator.Feature.ESCAPE_NON_ASCII);
        if (arguments.length > 0) {
            write(new Random(Long.parseLong(arguments[1])), Integer.parseInt(arguments[2]));
            return;
        }
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode topic = JSON.readTree(line);
            ObjectNode answer = JSON.createObjectNode();
            ArrayNode generic = answer.putArray("generic");
            ArrayNode pojos = answer.putArray("pojos");
            for (JsonNode message : topic.get("messages")) {
                byte[] raw = message.get(1).asText().getBytes(StandardCharsets.ISO_8859_1);
                generic.add(tried(() -> generic(topic, message.get(0).asLong(), raw)));
                if (topic.hasNonNull("pojo")) {
                    pojos.add(tried(() -> shown(schema(POJOS.get(topic.get("pojo").asText())).decode(raw))));
                }
            }
            System.out.println("answers " + JSON.writeValueAsString(answer)); // the client logs, too
        }
    }

    private interface Attempt {
        JsonNode get() throws Exception;
    }

    private static JsonNode tried(Attempt attempt) {
        try {
            return attempt.get();
        } catch (Throwable thrown) {
            Throwable cause = thrown;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            return JSON.createObjectNode().put("error", cause.getClass().getSimpleName());
        }
    }

    private static <T> JSONSchema<T> schema(Class<T> pojo) {
        return JSONSchema.of(SchemaDefinition.<T>builder().withPojo(pojo).withJSR310ConversionEnabled(true).build());
    }

    private static JsonNode generic(JsonNode topic, long version, byte[] raw) {
        JsonNode schemas = topic.get("schemas");
        GenericSchemaImpl schema = GenericSchemaImpl.of(info(schemas.get(schemas.size() - 1)));
        schema.setSchemaInfoProvider(new Versions(schemas));
        byte[] number = ByteBuffer.allocate(8).putLong(version).array();
        GenericJsonRecord record = (GenericJsonRecord) schema.decode(raw, number);
        ObjectNode fields = JSON.createObjectNode();
        for (JsonNode definition : schemas) {
            for (JsonNode field : definition.get("fields")) {
                String name = field.get("name").asText();
                fields.set(name, shownField(record, name));
            }
        }
        return fields;
    }

    private static JsonNode shownField(GenericJsonRecord record, String name) {
        Object value = record.getField(name);
        JsonNode node = record.getJsonNode().get(name);
        if (node != null && node.isBigInteger()) {
            return node; // its field is a text, and no other than that of a text
        }
        if (!(value instanceof GenericJsonRecord)) {
            return shown(value);
        }
        GenericJsonRecord inner = (GenericJsonRecord) value;
        if (inner.getJsonNode().isArray()) {
            return container(inner.getJsonNode());
        }
        ObjectNode fields = JSON.createObjectNode();
        inner.getFields().forEach(field -> fields.set(field.getName(), shownField(inner, field.getName())));
        return JSON.createObjectNode().set("object", fields);
    }

    /** What is in a list has no GenericJsonRecord of its own: what Jackson read. */
    private static JsonNode container(JsonNode node) {
        if (node.isArray()) {
            ArrayNode items = JSON.createArrayNode();
            node.forEach(item -> items.add(container(item)));
            return JSON.createObjectNode().set("array", items);
        }
        if (node.isObject()) {
            ObjectNode fields = JSON.createObjectNode();
            node.fields().forEachRemaining(field -> fields.set(field.getKey(), container(field.getValue())));
            return JSON.createObjectNode().set("object", fields);
        }
        return node.isFloatingPointNumber() ? shown(node.asDouble()) : node;
    }

    /** A value by its class, for both kinds of answers. */
    private static JsonNode shown(Object value) {
        ObjectNode named = JSON.createObjectNode();
        if (value == null) {
            return NODES.nullNode();
        } else if (value instanceof Double) {
            return named.put("double", value.toString());
        } else if (value instanceof Float) {
            return named.put("float", value.toString());
        } else if (value instanceof byte[]) {
            return named.put("bytes", Base64.getEncoder().encodeToString((byte[]) value));
        } else if (value instanceof BigDecimal) {
            return named.put("decimal", value.toString());
        } else if (value instanceof Instant) {
            Instant at = (Instant) value;
            return named.put("instant", at.getEpochSecond() + " " + at.getNano());
        } else if (value instanceof LocalDateTime) {
            Instant at = ((LocalDateTime) value).toInstant(ZoneOffset.UTC);
            return named.put("instant", at.getEpochSecond() + " " + at.getNano());
        } else if (value instanceof LocalDate) {
            return named.put("day", ((LocalDate) value).toEpochDay());
        } else if (value instanceof LocalTime) {
            return named.put("nano", ((LocalTime) value).toNanoOfDay());
        } else if (value instanceof int[]) {
            ArrayNode items = named.putArray("array");
            for (int item : (int[]) value) {
                items.add(item);
            }
            return named;
        } else if (value instanceof List) {
            ArrayNode items = named.putArray("array");
            ((List<?>) value).forEach(item -> items.add(shown(item)));
            return named;
        } else if (value instanceof Map) {
            ObjectNode fields = named.putObject("object");
            ((Map<?, ?>) value).forEach((key, item) -> fields.set((String) key, shown(item)));
            return named;
        } else if (value instanceof Boolean || value instanceof BigInteger) {
            return JSON.valueToTree(value);
        } else if (value instanceof Number) {
            return NODES.numberNode(((Number) value).longValue());
        } else if (value.getClass().getEnclosingClass() == JsonOracle.class && !(value instanceof Enum)) {
            ObjectNode fields = named.putObject("object");
            for (java.lang.reflect.Field field : value.getClass().getFields()) {
                try {
                    fields.set(field.getName(), shown(field.get(value)));
                } catch (IllegalAccessException impossible) {
                    throw new IllegalStateException(impossible);
                }
            }
            return named;
        }
        return NODES.textNode(value.toString());
    }

    private static SchemaInfo info(JsonNode definition) {
        byte[] text = definition.toString().getBytes(StandardCharsets.UTF_8);
        return SchemaInfo.builder().name("t").type(SchemaType.JSON).schema(text).build();
    }

    /** The broker's part: the schema of a version. */
    private record Versions(JsonNode schemas) implements SchemaInfoProvider {
        @Override
        public CompletableFuture<SchemaInfo> getSchemaByVersion(byte[] version) {
            return CompletableFuture.completedFuture(info(schemas.get((int) ByteBuffer.wrap(version).getLong())));
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

    private static void write(Random random, int many) throws Exception {
        for (String name : new java.util.TreeSet<>(POJOS.keySet())) {
            JSONSchema schema = schema(POJOS.get(name));
            ObjectNode written = JSON.createObjectNode().put("pojo", name);
            written.set("schema", JSON.readTree(schema.getSchemaInfo().getSchema()));
            ArrayNode texts = written.putArray("messages");
            ArrayNode held = written.putArray("held");
            for (int i = 0; i < many; i++) {
                Object pojo = filled(POJOS.get(name), random);
                byte[] raw = schema.encode(pojo);
                held.add(shown(pojo));
                texts.add(new String(raw, StandardCharsets.ISO_8859_1));
            }
            System.out.println("answers " + JSON.writeValueAsString(written));
        }
    }

    private static Object filled(Class<?> pojo, Random random) throws Exception {
        Object made = pojo.getConstructor().newInstance();
        for (java.lang.reflect.Field field : pojo.getFields()) {
            if (field.getType().isPrimitive() || random.nextInt(6) > 0) {
                field.set(made, drawn(field.getGenericType(), random));
            }
        }
        return made;
    }

    private static Object drawn(java.lang.reflect.Type type, Random random) throws Exception {
        if (type instanceof java.lang.reflect.ParameterizedType) {
            java.lang.reflect.Type[] inner = ((java.lang.reflect.ParameterizedType) type).getActualTypeArguments();
            List<Object> list = new ArrayList<>();
            Map<String, Object> map = new HashMap<>();
            for (int i = random.nextInt(4); i > 0; i--) {
                Object item = random.nextInt(6) > 0 ? drawn(inner[inner.length - 1], random) : null;
                list.add(item);
                map.put(text(random), item);
            }
            return inner.length == 1 ? list : map;
        }
        long bits = random.nextLong() >> random.nextInt(64);
        if (type == int.class || type == Integer.class) {
            return (int) bits;
        } else if (type == long.class || type == Long.class) {
            return bits;
        } else if (type == short.class) {
            return (short) bits;
        } else if (type == float.class || type == Float.class) {
            return random.nextBoolean() ? (float) random.nextGaussian() : Float.intBitsToFloat(random.nextInt());
        } else if (type == double.class || type == Double.class) {
            double odd = random.nextInt(9) > 0 ? Double.longBitsToDouble(random.nextLong()) : Double.NaN;
            return random.nextBoolean() ? random.nextGaussian() : odd;
        } else if (type == boolean.class) {
            return random.nextBoolean();
        } else if (type == String.class) {
            return text(random);
        } else if (type == Color.class) {
            return Color.values()[random.nextInt(3)];
        } else if (type == UUID.class) {
            return new UUID(random.nextLong(), random.nextLong());
        } else if (type == byte[].class) {
            byte[] raw = new byte[random.nextInt(6)];
            random.nextBytes(raw);
            return raw;
        } else if (type == BigDecimal.class) {
            return new BigDecimal(BigInteger.valueOf(random.nextInt() >> random.nextInt(32)), random.nextInt(9) - 3);
        } else if (type == int[].class) {
            return random.ints(random.nextInt(4)).toArray();
        } else if (type == Inner.class) {
            return filled(Inner.class, random);
        }
        long second = random.nextInt(8) > 0 ? bits % 253402300800L / (1 + random.nextInt(9)) : random.nextInt(3) - 1;
        int[] nanos = {0, 5_000_000, 5_000, 7, 999_999_999, random.nextInt(1_000_000_000)};
        LocalDateTime at = LocalDateTime.ofEpochSecond(second, nanos[random.nextInt(6)], ZoneOffset.UTC);
        if (type == Instant.class) {
            return at.toInstant(ZoneOffset.UTC);
        }
        return type == LocalDate.class ? at.toLocalDate() : type == LocalTime.class ? at.toLocalTime() : at;
    }

    private static String text(Random random) {
        String[] parts = {"a", "NaN", "\u00e4", "\u20ac", "\ud83d\ude00", "\"", "\\", "\n", "\u0001", "1.0", "null", ""};
        StringBuilder text = new StringBuilder();
        for (int i = random.nextInt(4); i > 0; i--) {
            text.append(parts[random.nextInt(parts.length)]);
        }
        return text.toString();
    }
}
