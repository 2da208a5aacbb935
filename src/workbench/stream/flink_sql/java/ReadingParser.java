package workbench;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParseException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.json.JsonReadFeature;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;

/**
 * Makes a row of a reading in JSON or Avro, or a row that says why it is none: nothing is dropped.
 *
 * <p>The first column is the sensor's, unless the message's key names it. The last column holds the
 * reason why the message is refused; the other columns are NULL then. What is taken for what is
 * written in docs/stream-file.md, one rule for this parser and for the archive's, and compared by
 * generated cases.
 *
 * <p>(Flink's own JSON format fails at what it cannot read, or leaves it out without a word.)
 */
public final class ReadingParser implements DeserializationSchema<RowData> {
    private static final long serialVersionUID = 1L;
    private static final int SHOWN = 40; // characters of a wrong value
    private static final byte[] MARK = {(byte) 0xEF, (byte) 0xBB, (byte) 0xBF}; // of byte order

    private final String[] names;
    private final LogicalTypeRoot[] types;
    private final TypeInformation<RowData> produced;
    private final Map<String, Integer> places = new HashMap<>();
    private final AvroReadings avro; // null: readings are JSON
    private final boolean keyed;
    private transient JsonFactory json;

    public ReadingParser(RowType row, TypeInformation<RowData> produced) {
        this(row, produced, "", "", false);
    }

    /**
     * Readings are Avro records of the short name {@code record}, by a registry; empty: JSON. Where
     * they are keyed, no column is the sensor's.
     */
    public ReadingParser(
            RowType row, TypeInformation<RowData> produced, String record, String registry, boolean keyed) {
        this.names = row.getFieldNames().toArray(new String[0]);
        this.types = new LogicalTypeRoot[names.length];
        for (int place = 0; place < names.length; place++) {
            types[place] = row.getTypeAt(place).getTypeRoot();
            if (place < names.length - 1) {
                places.put(names[place], place);
            }
        }
        this.produced = produced;
        this.avro = record.isEmpty() ? null
                : new AvroReadings(record, new SchemaRegistry(registry), types, places);
        this.keyed = keyed;
    }

    @Override
    public RowData deserialize(byte[] message) throws IOException {
        GenericRowData row = new GenericRowData(names.length);
        String reason = message == null || message.length == 0 ? "it is empty"
                : avro == null ? fill(row, message) : avro.fill(row, message);
        if (reason == null && !keyed && row.isNullAt(0)) {
            reason = "it has no " + names[0];
        }
        if (reason == null) {
            return row;
        }
        GenericRowData refused = new GenericRowData(names.length);
        refused.setField(names.length - 1, StringData.fromString(reason));
        return refused;
    }

    /** Fill the columns of a row; return why that cannot be, or null. */
    private String fill(GenericRowData row, byte[] message) throws IOException {
        if (json == null) {
            json = JsonFactory.builder().enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS).build();
        }
        String[] wrong = new String[names.length]; // of a repeated field only the last one counts
        try (JsonParser parser = opened(message)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                return parser.currentToken() == null ? "it is empty" : "it is no JSON object";
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                Integer place = places.get(parser.getCurrentName());
                parser.nextToken();
                if (place == null) {
                    pass(parser);
                } else {
                    row.setField(place, null);
                    wrong[place] = take(row, place, parser);
                }
            }
            if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
                return "something follows the JSON object";
            }
        } catch (CharacterCodingException err) {
            return "it is no UTF-8";
        } catch (JsonProcessingException err) {
            return "it is no JSON: " + shown(err.getOriginalMessage(), 2 * SHOWN);
        }
        for (String reason : wrong) {
            if (reason != null) {
                return reason;
            }
        }
        return null;
    }

    /** Jackson takes other encodings, and bytes in text that are no UTF-8. */
    private JsonParser opened(byte[] message) throws IOException {
        if (isPlain(message)) {
            return json.createParser(message);
        }
        int start = Arrays.equals(MARK, 0, 3, message, 0, Math.min(3, message.length)) ? 3 : 0;
        ByteBuffer bytes = ByteBuffer.wrap(message, start, message.length - start);
        return json.createParser(StandardCharsets.UTF_8.newDecoder().decode(bytes).toString());
    }

    private static boolean isPlain(byte[] message) {
        for (byte one : message) {
            if (one <= 0) {
                return false;
            }
        }
        return true;
    }

    /** Step over a value, whatever it is, as long as it is JSON. */
    private static void pass(JsonParser parser) throws IOException {
        int depth = 0;
        do {
            JsonToken token = parser.currentToken();
            if (token.isStructStart()) {
                depth++;
            } else if (token.isStructEnd()) {
                depth--;
            } else {
                checkNumber(parser);
            }
        } while (depth > 0 && parser.nextToken() != null);
    }

    /** Of numbers that are none, Python knows NaN, Infinity and -Infinity; Jackson others, too. */
    private static void checkNumber(JsonParser parser) throws IOException {
        if (parser.currentToken() == JsonToken.VALUE_NUMBER_FLOAT && parser.isNaN()) {
            String text = parser.getText();
            if (!isNoNumber(text)) {
                throw new JsonParseException(parser, "Unrecognized token '" + text + "'");
            }
        }
    }

    private static boolean isNoNumber(String text) {
        return text.equals("NaN") || text.equals("Infinity") || text.equals("-Infinity");
    }

    /** Set a column to the current value, NULL if it is missing; return what is wrong, or null. */
    private String take(GenericRowData row, int place, JsonParser parser) throws IOException {
        JsonToken token = parser.currentToken();
        if (token == JsonToken.VALUE_NULL) {
            return null;
        }
        if (token == JsonToken.START_OBJECT || token == JsonToken.START_ARRAY) {
            String kind = token == JsonToken.START_OBJECT ? "an object" : "a list";
            pass(parser);
            return names[place] + " is " + kind + ", not " + expected(place);
        }
        checkNumber(parser);
        if (types[place] == LogicalTypeRoot.VARCHAR) {
            String text = text(parser); // an empty one names nothing
            row.setField(place, text.isEmpty() ? null : StringData.fromString(text));
            return null;
        }
        if (isMissing(parser, types[place])) {
            return null;
        }
        Object value = null;
        if (token.isNumeric()) {
            value = types[place] == LogicalTypeRoot.DOUBLE ? (Object) parser.getDoubleValue() : whole(parser);
        }
        if (value == null) {
            return names[place] + " is " + shown(parser.getText(), SHOWN) + ", not " + expected(place);
        }
        row.setField(place, value);
        return null;
    }

    /** Tell whether a number is none, or infinite as 1e400 is. */
    private static boolean isMissing(JsonParser parser, LogicalTypeRoot type) throws IOException {
        JsonToken token = parser.currentToken();
        if (token == JsonToken.VALUE_STRING) {
            return isNoNumber(parser.getText()); // as Jackson writes them
        }
        boolean tooLong = token == JsonToken.VALUE_NUMBER_INT && type == LogicalTypeRoot.BIGINT;
        return token.isNumeric() && !tooLong && !Double.isFinite(parser.getDoubleValue());
    }

    /** Return a whole number of 64 bits, null for any other. */
    private static Long whole(JsonParser parser) throws IOException {
        if (parser.currentToken() == JsonToken.VALUE_NUMBER_INT) {
            BigInteger number = parser.getBigIntegerValue();
            return number.bitLength() < 64 ? number.longValue() : null;
        }
        double number = parser.getDoubleValue();
        return number == Math.rint(number) && Math.abs(number) < 0x1p63 ? (Long) (long) number : null;
    }

    /** Return a text, true or false, a whole number's digits, another number as it is written. */
    private static String text(JsonParser parser) throws IOException {
        JsonToken token = parser.currentToken();
        if (token == JsonToken.VALUE_NUMBER_INT) {
            return parser.getBigIntegerValue().toString();
        }
        if (token == JsonToken.VALUE_NUMBER_FLOAT) {
            Long whole = whole(parser);
            return parser.isNaN() ? "" : whole == null ? parser.getText() : whole.toString();
        }
        // half of a surrogate pair is no text in UTF-8
        byte[] pairs = parser.getText().getBytes(StandardCharsets.UTF_16LE);
        return new String(pairs, StandardCharsets.UTF_16LE);
    }

    private String expected(int place) {
        switch (types[place]) {
            case VARCHAR:
                return "a text";
            case DOUBLE:
                return "a number";
            default:
                return "a whole number";
        }
    }

    private static String shown(String text, int most) {
        String line = text.replace('\n', ' ');
        return line.length() <= most ? line : line.substring(0, most) + "...";
    }

    @Override
    public boolean isEndOfStream(RowData row) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return produced;
    }
}
