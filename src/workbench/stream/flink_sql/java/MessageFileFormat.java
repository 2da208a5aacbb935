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
 *   message id, partition, event time, publish time, value       with tabs between
 * </pre>
 *
 * <p>Times are epoch ms, 0 for an event time that is not set; the value is in base64, "-" for one that
 * is null. The columns of the table are those of the reading, then message_id, partition,
 * message_event_time and message_publish_time.
 */
public final class MessageFileFormat extends RowFormat {

    @Override
    public String factoryIdentifier() {
        return "message-file";
    }

    @Override
    DeserializationSchema<RowData> decoder(
            RowType row, TypeInformation<RowData> produced, String record, String registry) {
        return new Lines(row, produced, record, registry);
    }

    private static final class Lines implements DeserializationSchema<RowData> {
        private static final long serialVersionUID = 1L;
        private static final int ADDED = 4; // columns behind those of the reading

        private final RowType reading;
        private final ReadingParser parser;
        private final TypeInformation<RowData> produced;

        Lines(RowType row, TypeInformation<RowData> produced, String record, String registry) {
            this.reading = new RowType(row.getFields().subList(0, row.getFieldCount() - ADDED));
            this.parser = new ReadingParser(reading, null, record, registry);
            this.produced = produced;
        }

        @Override
        public RowData deserialize(byte[] line) throws IOException {
            String[] parts = new String(line, StandardCharsets.US_ASCII).split("\t", -1);
            byte[] value = parts[4].equals("-") ? null : Base64.getDecoder().decode(parts[4]);
            RowData parsed = parser.deserialize(value);
            int count = reading.getFieldCount();
            GenericRowData row = new GenericRowData(count + ADDED);
            for (int place = 0; place < count; place++) {
                row.setField(place, ((GenericRowData) parsed).getField(place));
            }
            row.setField(count, StringData.fromString(parts[0]));
            row.setField(count + 1, StringData.fromString(parts[1]));
            row.setField(count + 2, TimestampData.fromEpochMillis(Long.parseLong(parts[2])));
            row.setField(count + 3, TimestampData.fromEpochMillis(Long.parseLong(parts[3])));
            return row;
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
