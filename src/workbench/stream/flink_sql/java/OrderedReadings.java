package workbench;

import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.BooleanType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.VarCharType;

/** Puts {@link PartitionOrder} between the table of a topic or file and the views. */
public final class OrderedReadings {

    /**
     * Define the view {@code arrivals} anew as what is read, once, and the view {@code source} as
     * what {@link PartitionOrder} makes of it, with row time {@code ts}.
     *
     * @param idleMs after such a silence a partition is not waited for; 0: readings end, and come in step
     * @param waitingBytes of readings that wait for another partition, at most
     * @param known the partitions that there are, with commas; empty: none is waited for
     */
    public void define(
            StreamTableEnvironment tables,
            String sensor,
            long latenessMs,
            long aheadMs,
            long idleMs,
            long waitingBytes,
            String known)
            throws ReflectiveOperationException {
        ResolvedSchema schema = tables.from("received").getResolvedSchema();
        DataType columns = schema.toPhysicalRowDataType().bridgedTo(RowData.class);
        RowType type = (RowType) columns.getLogicalType();
        int partition = type.getFieldIndex("partition");
        DataStream<RowData> arrivals = tables.toDataStream(tables.from("received"), columns);
        String job = UUID.randomUUID().toString();
        if (idleMs > 0) {
            PacedSource.pace(arrivals.getTransformation(), job);
        }
        DataStream<RowData> ordered =
                arrivals.keyBy(row -> row.getString(partition).toString(), Types.STRING)
                        .transform(
                                "order of partitions",
                                InternalTypeInfo.of(more(type)),
                                new PartitionOrder(
                                        type,
                                        type.getFieldIndex("event_ms"),
                                        type.getFieldIndex(sensor),
                                        type.getFieldIndex("fault"),
                                        latenessMs,
                                        aheadMs,
                                        idleMs,
                                        waitingBytes,
                                        job,
                                        known.isEmpty() ? new String[0] : known.split(",")))
                        .setParallelism(1);
        tables.createTemporaryView("arrivals", arrivals);
        tables.createTemporaryView(
                "source",
                ordered,
                Schema.newBuilder().watermark("ts", "SOURCE_WATERMARK()").build());
    }

    private static RowType more(RowType type) {
        List<RowType.RowField> fields = new ArrayList<>(type.getFields());
        fields.add(new RowType.RowField("refused", new VarCharType(VarCharType.MAX_LENGTH)));
        fields.add(new RowType.RowField("late", new BooleanType(false)));
        fields.add(new RowType.RowField("clock_ms", new BigIntType()));
        return new RowType(false, fields);
    }
}
