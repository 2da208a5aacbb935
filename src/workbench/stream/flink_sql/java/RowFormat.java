package workbench;

import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/** A format whose rows are all inserted: what those of the job have in common. */
abstract class RowFormat implements DeserializationFormatFactory {

    private static final ConfigOption<String> RECORD =
            ConfigOptions.key("record").stringType().defaultValue("");
    private static final ConfigOption<String> REGISTRY =
            ConfigOptions.key("registry").stringType().defaultValue("");
    private static final ConfigOption<Boolean> KEYED =
            ConfigOptions.key("keyed").booleanType().defaultValue(false);

    /**
     * Returns what makes rows of these columns of bytes: JSON, or Avro records of a short name, by
     * the schema registry of which a file tells. Where they are keyed, the key names the sensor, and no
     * column of the value does.
     */
    abstract DeserializationSchema<RowData> decoder(
            RowType row, TypeInformation<RowData> produced, String record, String registry, boolean keyed);

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Collections.emptySet();
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return new HashSet<>(Arrays.asList(RECORD, REGISTRY, KEYED));
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context factory, ReadableConfig options) {
        return new DecodingFormat<DeserializationSchema<RowData>>() {
            @Override
            public DeserializationSchema<RowData> createRuntimeDecoder(
                    DynamicTableSource.Context context, DataType columns) {
                return decoder(
                        (RowType) columns.getLogicalType(),
                        context.createTypeInformation(columns),
                        options.get(RECORD),
                        options.get(REGISTRY),
                        options.get(KEYED));
            }

            @Override
            public ChangelogMode getChangelogMode() {
                return ChangelogMode.insertOnly();
            }
        };
    }
}
