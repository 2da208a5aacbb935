package workbench;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;

/**
 * Makes a row of a reading in JSON, or a row that says why it is none: nothing is dropped.
 *
 * <p>The first column is the sensor's: a text, or a number taken as text. DOUBLE columns take
 * numbers, BIGINT columns whole ones; a field that is absent or null is NULL there. The last column
 * holds the reason why the message is refused; the other columns are NULL then.
 *
 * <p>(Flink's own JSON format fails at what it cannot read, or leaves it out without a word.)
 */
public final class ReadingParser implements DeserializationSchema<RowData> {
    private static final long serialVersionUID = 1L;
    private static final int SHOWN = 40; // characters of a wrong value

    private final String[] names;
    private final LogicalTypeRoot[] types;
    private final TypeInformation<RowData> produced;
    private final Map<String, Integer> places = new HashMap<>();
    private transient JsonFactory json;

    public ReadingParser(RowType row, TypeInformation<RowData> produced) {
        this.names = row.getFieldNames().toArray(new String[0]);
        this.types = new LogicalTypeRoot[names.length];
        for (int place = 0; place < names.length; place++) {
            types[place] = row.getTypeAt(place).getTypeRoot();
            if (place < names.length - 1) {
                places.put(names[place], place);
            }
        }
        this.produced = produced;
    }

    @Override
    public RowData deserialize(byte[] message) throws IOException {
        GenericRowData row = new GenericRowData(names.length);
        String reason = message == null ? "it is empty" : fill(row, message);
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
            json = new JsonFactory();
        }
        try (JsonParser parser = json.createParser(message)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                return parser.currentToken() == null ? "it is empty" : "it is no JSON object";
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                Integer place = places.get(parser.getCurrentName());
                JsonToken token = parser.nextToken();
                if (place == null) {
                    parser.skipChildren();
                } else if (token == JsonToken.VALUE_NULL) {
                    row.setField(place, null);
                } else {
                    Object value = token.isScalarValue() ? value(parser, types[place]) : null;
                    if (value == null) {
                        return wrong(parser, place);
                    }
                    row.setField(place, value);
                }
            }
            if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
                return "something follows the JSON object";
            }
        } catch (JsonProcessingException err) {
            return "it is no JSON: " + shown(err.getOriginalMessage(), 2 * SHOWN);
        }
        return row.isNullAt(0) ? "it has no " + names[0] : null;
    }

    /** Return the value of the current token, or null if it has another type. */
    private static Object value(JsonParser parser, LogicalTypeRoot type) throws IOException {
        JsonToken token = parser.currentToken();
        if (type == LogicalTypeRoot.VARCHAR) {
            return StringData.fromString(parser.getText());
        }
        if (!token.isNumeric()) {
            return null;
        }
        double number = parser.getDoubleValue();
        if (type == LogicalTypeRoot.DOUBLE) {
            return Double.isInfinite(number) ? null : (Object) number;
        }
        if (number != Math.rint(number) || Math.abs(number) > 9e18) {
            return null;
        }
        return token == JsonToken.VALUE_NUMBER_INT ? parser.getLongValue() : (long) number;
    }

    private String wrong(JsonParser parser, int place) throws IOException {
        String[] kinds = {"a text", "a number", "a whole number"};
        int kind = types[place] == LogicalTypeRoot.VARCHAR ? 0 : types[place] == LogicalTypeRoot.DOUBLE ? 1 : 2;
        return names[place] + " is " + shown(parser.getText(), SHOWN) + ", not " + kinds[kind];
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
