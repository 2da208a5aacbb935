package workbench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.RowType;

/**
 * {@code 'format' = 'message-file'}: messages as they lie on a topic, a line each, of which {@link
 * ReadingParser} makes readings as it does for the topic itself.
 *
 * <pre>
 *   message id, partition, event time, publish time, value[, key]       with tabs between
 * </pre>
 *
 * <p>Times are epoch ms, 0 for an event time that is not set; value and key are in base64, "-" for one
 * that is null. The columns of the table are those of the reading, then message_id, partition,
 * message_event_time, message_publish_time and, where messages are keyed, the key.
 */
public final class MessageFileFormat extends RowFormat {

    @Override
    public String factoryIdentifier() {
        return "message-file";
    }

    @Override
    DeserializationSchema<RowData> decoder(
            RowType row, TypeInformation<RowData> produced, String record, String registry, boolean keyed) {
        return new Lines(row, produced, record, registry, keyed);
    }

    private static final class Lines implements DeserializationSchema<RowData> {
        private static final long serialVersionUID = 1L;
        private static final int FACTS = 4; // columns behind those of the reading, without the key

        private final RowType reading;
        private final ReadingParser parser;
        private final TypeInformation<RowData> produced;
        private final int added;

        Lines(RowType row, TypeInformation<RowData> produced, String record, String registry, boolean keyed) {
            this.added = keyed ? FACTS + 1 : FACTS;
            this.reading = new RowType(row.getFields().subList(0, row.getFieldCount() - added));
            this.parser = new ReadingParser(reading, null, record, registry, keyed);
            this.produced = produced;
        }

        @Override
        public RowData deserialize(byte[] line) throws IOException {
            String[] parts = new String(line, StandardCharsets.US_ASCII).split("\t", -1);
            RowData parsed = parser.deserialize(bytes(parts[4]));
            int count = reading.getFieldCount();
            GenericRowData row = new GenericRowData(count + added);
            for (int place = 0; place < count; place++) {
                row.setField(place, ((GenericRowData) parsed).getField(place));
            }
            row.setField(count, StringData.fromString(parts[0]));
            row.setField(count + 1, StringData.fromString(parts[1]));
            row.setField(count + 2, TimestampData.fromEpochMillis(Long.parseLong(parts[2])));
            row.setField(count + 3, TimestampData.fromEpochMillis(Long.parseLong(parts[3])));
            if (added > FACTS) {
                row.setField(count + FACTS, bytes(parts[5]));
            }
            return row;
        }

        private static byte[] bytes(String part) {
            return part.equals("-") ? null : Base64.getDecoder().decode(part);
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
}
