package workbench;

import java.io.IOException;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.LogicalTypeRoot;

/**
 * Fills the columns of a reading out of a record in Confluent's wire format, by its writer's schema.
 *
 * <pre>
 *   0     byte     0
 *   1     int32    id of the schema, which the registry has
 *   5     bytes    a record in Avro's binary encoding
 * </pre>
 *
 * <p>What is taken for what is written in docs/stream-file.md, one rule with
 * {@code history/kafka_readings.py}, and compared by generated cases.
 *
 * <p>Source: Confluent Platform documentation, "Formats, serializers, and deserializers", "Wire format".
 */
final class AvroReadings implements Serializable {
    private static final long serialVersionUID = 1L;
    private static final int HEAD = 5;
    private static final List<String> NUMBERS = Arrays.asList("int", "long", "float", "double");

    private final String record;
    private final SchemaRegistry registry;
    private final LogicalTypeRoot[] types;
    private final Map<String, Integer> places;

    AvroReadings(String record, SchemaRegistry registry, LogicalTypeRoot[] types, Map<String, Integer> places) {
        this.record = record;
        this.registry = registry;
        this.types = types;
        this.places = places;
    }

    /** Fill the columns of a row; return why that cannot be, or null. */
    String fill(GenericRowData row, byte[] message) throws IOException {
        int number = message.length < HEAD ? -1 : ByteBuffer.wrap(message).getInt(1);
        if (message.length < HEAD || message[0] != 0 || number < 0) {
            return "it is no Avro in Confluent's wire format";
        }
        SchemaRegistry.Known known = registry.schema(number, this::unfit);
        if (known.unfit != null) {
            return known.unfit;
        }
        try {
            fill(row, new AvroBytes(message, HEAD, known.type), known.type);
            return null;
        } catch (AvroBytes.Misfit misfit) {
            return "it is no Avro of schema " + number + ": " + misfit.getMessage();
        }
    }

    /** Return why no record of a schema is a reading, or null. */
    private String unfit(AvroType type) {
        if (!type.kind.equals("record") || !AvroType.shortName(type.name).equals(record)) {
            String name = type.name.isEmpty() ? type.kind : AvroType.shortName(type.name);
            return "it is of " + name + ", not of " + record;
        }
        if (type.holdsNamesake(type, new HashSet<>())) {
            return "it holds another type of the name " + record;
        }
        for (int field = 0; field < type.fields.size(); field++) {
            Integer place = places.get(type.fields.get(field));
            AvroType kind = place == null ? null : type.parts.get(field).plain();
            if (place != null && (kind == null || !fits(kind, types[place]))) {
                return type.fields.get(field) + " is " + shown(kind) + ", not " + expected(types[place]);
            }
        }
        return null;
    }

    private static boolean fits(AvroType kind, LogicalTypeRoot wanted) {
        switch (wanted) {
            case VARCHAR:
                return kind.kind.equals("string");
            case DOUBLE:
                return NUMBERS.contains(kind.kind) && kind.logical.isEmpty();
            default:
                boolean plain = kind.logical.isEmpty() || kind.logical.equals("timestamp-millis");
                return NUMBERS.subList(0, 2).contains(kind.kind) && plain;
        }
    }

    private static String shown(AvroType kind) {
        return kind == null ? "a union" : kind.logical.isEmpty() ? kind.kind : kind.logical;
    }

    private static String expected(LogicalTypeRoot wanted) {
        switch (wanted) {
            case VARCHAR:
                return "a string";
            case DOUBLE:
                return "a number";
            default:
                return "a long of milliseconds";
        }
    }

    private void fill(GenericRowData row, AvroBytes bytes, AvroType type) throws AvroBytes.Misfit {
        for (int field = 0; field < type.fields.size(); field++) {
            Integer place = places.get(type.fields.get(field));
            AvroType kind = type.parts.get(field);
            int start = bytes.position;
            bytes.pass(kind, 1);
            if (place != null) {
                int behind = bytes.position;
                bytes.position = start;
                take(row, place, bytes, kind);
                bytes.position = behind;
            }
        }
    }

    private void take(GenericRowData row, int place, AvroBytes bytes, AvroType type) throws AvroBytes.Misfit {
        AvroType kind = type;
        while (kind.kind.equals("union")) {
            kind = bytes.branch(kind);
        }
        switch (kind.kind) {
            case "null":
                return;
            case "string":
                String text = bytes.text(); // an empty one names nothing
                row.setField(place, text.isEmpty() ? null : StringData.fromString(text));
                return;
            case "float":
            case "double":
                double fraction = bytes.fraction(kind.kind.equals("float") ? 4 : 8);
                row.setField(place, Double.isFinite(fraction) ? fraction : null);
                return;
            default:
                long number = bytes.number(); // an int is read as a long: Avro writes them alike
                boolean isTime = types[place] == LogicalTypeRoot.BIGINT;
                row.setField(place, isTime ? (Object) number : (Object) (double) number);
                return;
        }
    }
}
