package workbench;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.RowType;

/** {@code 'format' = 'reading'}: see {@link ReadingParser}. */
public final class ReadingFormat extends RowFormat {

    @Override
    public String factoryIdentifier() {
        return "reading";
    }

    @Override
    DeserializationSchema<RowData> decoder(
            RowType row, TypeInformation<RowData> produced, String record, String registry, boolean keyed) {
        return new ReadingParser(row, produced, record, registry, keyed);
    }
}
