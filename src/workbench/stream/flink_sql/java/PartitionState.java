package workbench;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.typeutils.RowDataSerializer;

/** What a checkpoint holds of a partition: its clock, the readings that wait, times of sensors. */
final class PartitionState {
    private static final int VERSION = 2;

    private final RowDataSerializer rows;
    private final Function<RowData, PartitionClock.Arrival> arrival;

    PartitionState(RowDataSerializer rows, Function<RowData, PartitionClock.Arrival> arrival) {
        this.rows = rows;
        this.arrival = arrival;
    }

    byte[] write(PartitionClock clock, Map<String, Long> wrong, Map<String, Long> gone)
            throws IOException {
        DataOutputSerializer out = new DataOutputSerializer(256);
        out.writeByte(VERSION);
        out.writeBoolean(clock.begun);
        out.writeLong(clock.clock);
        out.writeLong(clock.first == null ? -1 : clock.first.number);
        out.writeLong(clock.taken);
        out.writeInt(clock.recent.size());
        for (String name : clock.recent) {
            out.writeUTF(name);
        }
        write(wrong, out);
        write(gone, out);
        List<PartitionClock.Arrival> waiting = new ArrayList<>(clock.due);
        waiting.addAll(clock.waiting);
        write(waiting, out);
        write(clock.doubted, out);
        return out.getCopyOfBuffer();
    }

    private void write(Map<String, Long> times, DataOutputSerializer out) throws IOException {
        out.writeInt(times.size());
        for (Map.Entry<String, Long> entry : times.entrySet()) {
            out.writeUTF(entry.getKey());
            out.writeLong(entry.getValue());
        }
    }

    private void write(List<PartitionClock.Arrival> readings, DataOutputSerializer out)
            throws IOException {
        out.writeInt(readings.size());
        for (PartitionClock.Arrival one : readings) {
            out.writeLong(one.number);
            out.writeBoolean(one.clockMs != null);
            out.writeLong(one.clockMs == null ? 0 : one.clockMs);
            rows.serialize(one.row, out);
        }
    }

    void read(
            byte[] bytes,
            PartitionClock clock,
            Map<String, Long> wrong,
            Map<String, Long> gone)
            throws IOException {
        DataInputDeserializer in = new DataInputDeserializer(bytes);
        if (in.readByte() != VERSION) {
            throw new IOException("the state is of another version of this job");
        }
        clock.begun = in.readBoolean();
        clock.clock = in.readLong();
        long first = in.readLong();
        clock.taken = in.readLong();
        for (int left = in.readInt(); left > 0; left--) {
            clock.recent.add(in.readUTF());
        }
        read(in, wrong);
        read(in, gone);
        for (int left = in.readInt(); left > 0; left--) {
            PartitionClock.Arrival one = read(in);
            clock.waiting.add(one);
            if (one.number == first) {
                clock.first = one;
            }
        }
        for (int left = in.readInt(); left > 0; left--) {
            clock.doubted.add(read(in));
        }
    }

    private void read(DataInputDeserializer in, Map<String, Long> times) throws IOException {
        for (int left = in.readInt(); left > 0; left--) {
            times.put(in.readUTF(), in.readLong());
        }
    }

    private PartitionClock.Arrival read(DataInputDeserializer in) throws IOException {
        long number = in.readLong();
        boolean right = in.readBoolean();
        long clockMs = in.readLong();
        PartitionClock.Arrival one = arrival.apply(rows.deserialize(in));
        one.clockMs = right ? clockMs : null;
        one.number = number;
        return one;
    }
}
