package workbench;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Comparator;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.metrics.Counter;
import org.apache.flink.runtime.io.network.api.writer.ResultPartitionWriter;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.watermarkstatus.WatermarkStatus;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.utils.JoinedRowData;
import org.apache.flink.table.runtime.typeutils.RowDataSerializer;
import org.apache.flink.table.types.logical.RowType;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Says of each reading whether it is late or ahead, and lets readings go on in the order of event
 * time, those of equal time in that of their partitions' numbers; the rule is {@link
 * PartitionClock}'s. It adds to a row:
 *
 * <pre>
 *   refused      STRING   why the message is no reading, or its time cannot be
 *   late         BOOLEAN  with `refused`: it is not late, but was overtaken
 *   clock_ms     BIGINT   where a sensor's clock begins to be ahead, and where it ends to be:
 *                         what the partition's clock showed at the beginning
 * </pre>
 *
 * <p>The slowest partition is waited for, which orders the readings of a sensor that come by several
 * of them; behind the operator the watermark is its. A partition from which nothing comes for {@code
 * idleMs} is not waited for, nor is any where all are so; of those that are known at the start the
 * first reading is awaited, for a third of that. When it speaks again, its readings go on at once:
 * those of one partition are in order, so that nothing is late for a window that was not late here.
 * Only where a reading of the same sensor and of its time or a later one came by another partition
 * and is gone, it is overtaken: no window can take it any more, and it is refused with the reason.
 * (Flink's own watermarks know neither of clocks that are ahead nor, in SQL, of the partitions of a
 * topic.)
 *
 * <p>It is keyed by partition, and one instance has all of them. What it remembers is in memory and
 * goes into Flink's state at each checkpoint: the readings that wait, with what {@link
 * PartitionClock} needs. A partition that leads, and of which its share of {@code waitingBytes} waits
 * for others, is read no further until that is less: of a backlog, whose partitions are of different length or are
 * read at different speed, most would wait here otherwise.
 */
final class PartitionOrder extends AbstractStreamOperator<RowData>
        implements OneInputStreamOperator<RowData, RowData> {
    private static final long serialVersionUID = 1L;
    private static final Logger LOG = LoggerFactory.getLogger(PartitionOrder.class);
    private static final String NONE = "-1"; // the partition of a topic that has none
    private static final Comparator<String> BY_NUMBER =
            Comparator.comparingInt(String::length).thenComparing(Comparator.naturalOrder());
    private static final long TICK_MS = 1000;
    private static final int OBJECTS_BYTES = 300; // around a row that waits
    private static final StringData OVERTAKEN =
            StringData.fromString(
                    "a reading of its sensor that is as new or newer came by another partition and "
                            + "went before: this one was silent for too long to be waited for");

    private final RowType type;
    private final int eventMs;
    private final int sensor;
    private final int fault;
    private final long latenessMs;
    private final long aheadMs;
    private final long idleMs; // 0: partitions are read in step, none is waited for
    private final long waitingBytes; // of readings that wait, at most, but for those within latenessMs
    private final String job; // for Pace
    private final String[] known; // partitions at the start

    private transient SortedMap<String, Partition> partitions; // by number
    private transient RowDataSerializer rows;
    private transient PartitionState stored;
    private transient ValueState<byte[]> state;
    private transient StreamRecord<RowData> record;
    private transient long emitted; // watermark
    private transient boolean idle;
    private transient boolean moved; // whether something went on that is not newer than emitted
    private transient Counter behind; // of such readings: sums and patterns have passed them
    private transient long logged; // of them
    private transient Pace pace;
    private transient long shownMs; // by the clock on the wall, when it was last looked at
    private transient long listenedMs; // for how long readings could come

    PartitionOrder(
            RowType type, int eventMs, int sensor, int fault, long latenessMs, long aheadMs,
            long idleMs, long waitingBytes, String job, String[] known) {
        this.type = type;
        this.eventMs = eventMs;
        this.sensor = sensor;
        this.fault = fault;
        this.latenessMs = latenessMs;
        this.aheadMs = aheadMs;
        this.idleMs = idleMs;
        this.waitingBytes = waitingBytes;
        this.job = job;
        this.known = known;
    }

    @Override
    public void open() throws Exception {
        super.open();
        rows = new RowDataSerializer(type);
        stored = new PartitionState(rows, this::arrival);
        record = new StreamRecord<>(null);
        partitions = new TreeMap<>(BY_NUMBER);
        emitted = Long.MIN_VALUE;
        behind = getMetricGroup().counter("behind");
        pace = Pace.of(job);
        shownMs = getProcessingTimeService().getCurrentProcessingTime();
        state = getRuntimeContext().getState(
                new ValueStateDescriptor<>("clocks", BytePrimitiveArraySerializer.INSTANCE));
        restore();
        for (String name : known) {
            partition(name);
        }
        setIdle(partitions.isEmpty());
        if (idleMs > 0) {
            getProcessingTimeService().scheduleAtFixedRate(now -> tick(), TICK_MS, TICK_MS);
        }
    }

    /** What this attempt asked for, the next one, after a failure, has not. */
    @Override
    public void close() throws Exception {
        if (pace != null) {
            pace.hold(Set.of());
        }
        super.close();
    }

    @Override
    public void processElement(StreamRecord<RowData> element) throws Exception {
        RowData row = element.getValue();
        if (!row.isNullAt(fault)) { // it is no reading, and moves no clock
            emit(row, row.getString(fault), false, null);
            return;
        }
        if (row.isNullAt(sensor)) {
            return;
        }
        Partition one = partition((String) getCurrentKey());
        one.heardMs = listenedMs();
        long before = one.clock.watermark();
        one.clock.arrive(arrival(rows.toBinaryRow(row).copy()), one);
        if (idle || before <= emitted && one.clock.watermark() > before) {
            advance();
        } else if (one.isToBeHeld() != one.held) {
            keepPace();
        }
    }

    private void tick() {
        for (ResultPartitionWriter out : getContainingTask().getEnvironment().getAllWriters()) {
            if (!out.isAvailable()) { // what is behind takes nothing, so nothing is taken here
                shownMs = getProcessingTimeService().getCurrentProcessingTime();
                return;
            }
        }
        advance();
        if (moved) { // Flink's timers wait for a watermark that is greater than the last one
            reach(emitted + 1, !idle);
        }
        if (behind.getCount() > logged) {
            logged = behind.getCount();
            LOG.warn("{} readings so far came behind those of other partitions: they are scored, "
                    + "but in no sum or pattern that went on without them", logged);
        }
    }

    /** The time that counts as silence: none of that in which this operator was held up itself. */
    private long listenedMs() {
        long now = getProcessingTimeService().getCurrentProcessingTime();
        // it is looked at once in a tick: of a longer time, or one put back, the process saw nothing
        listenedMs += Math.max(0, Math.min(now - shownMs, TICK_MS));
        shownMs = now;
        return listenedMs;
    }

    /** Let those that lead stand still while too much of them waits. */
    private void keepPace() {
        Set<String> held = new HashSet<>();
        for (Partition one : partitions.values()) {
            one.held = one.isToBeHeld();
            if (one.held) {
                held.add(one.name);
            }
        }
        pace.hold(held);
    }

    private PartitionClock.Arrival arrival(RowData row) {
        return new PartitionClock.Arrival(
                row.getLong(eventMs), row.getString(sensor).toString(), row);
    }

    private static long bytes(PartitionClock.Arrival reading) {
        return ((BinaryRowData) reading.row).getSizeInBytes() + OBJECTS_BYTES;
    }

    private Partition partition(String name) {
        return partitions.computeIfAbsent(name, Partition::new);
    }

    /** Let go of what nobody waits for any more, with the watermark, if that has moved. */
    private void advance() {
        long now = listenedMs();
        long slowest = Long.MAX_VALUE;
        long fastest = Long.MIN_VALUE;
        boolean awaited = false;
        for (Partition one : partitions.values()) {
            long patienceMs = one.clock.begun ? idleMs : idleMs / 3;
            long mark = one.clock.watermark();
            fastest = Math.max(fastest, mark);
            if (one.held) {
                one.heardMs = now; // it would speak
            }
            if (idleMs == 0 || now - one.heardMs < patienceMs) {
                slowest = Math.min(slowest, mark);
                awaited = true;
            }
        }
        reach(awaited ? slowest : fastest, awaited);
        if (idleMs > 0) {
            keepPace();
        }
    }

    private void reach(long time, boolean awaited) {
        if (awaited) {
            setIdle(false); // before the watermark, which would not count
        }
        release(Math.max(time, emitted));
        if (time > emitted) {
            emitted = time;
            moved = false;
            output.emitWatermark(new Watermark(time));
        }
        if (!awaited) {
            setIdle(true);
        }
    }

    /** Let go of all that is due in its partition, up to here. */
    private void release(long until) {
        while (true) {
            Partition next = null;
            PartitionClock.Arrival first = null;
            for (Partition one : partitions.values()) {
                PartitionClock.Arrival due = one.clock.due(until);
                if (due != null && (first == null || due.time < first.time)) {
                    next = one;
                    first = due;
                }
            }
            if (next == null) {
                return;
            }
            next.clock.due.poll();
            next.release(first);
        }
    }

    private boolean isOvertaken(PartitionClock.Arrival reading, Partition own) {
        if (reading.time > emitted) {
            return false;
        }
        for (Partition other : partitions.values()) {
            Long gone = other == own ? null : other.gone.get(reading.sensor);
            if (gone != null && gone >= reading.time) {
                return true;
            }
        }
        return false;
    }

    private void setIdle(boolean now) {
        if (now != idle) {
            idle = now;
            output.emitWatermarkStatus(now ? WatermarkStatus.IDLE : WatermarkStatus.ACTIVE);
        }
    }

    /** Nothing but the end of all readings: time is told here. */
    @Override
    public void processWatermark(Watermark mark) {
        if (mark.getTimestamp() == Long.MAX_VALUE) {
            partitions.values().forEach(one -> one.clock.end(one));
            reach(Long.MAX_VALUE, true);
        }
    }

    @Override
    public void processWatermarkStatus(WatermarkStatus status) {}

    private void emit(RowData row, StringData refused, boolean late, Long clockMs) {
        GenericRowData added = GenericRowData.of(refused, late, clockMs);
        output.collect(record.replace(new JoinedRowData(row, added)));
    }

    /** A partition, and the sensors in it whose clocks are ahead. */
    private final class Partition implements PartitionClock.Listener {
        final PartitionClock clock = new PartitionClock(latenessMs, aheadMs);
        final Map<String, Long> wrong = new HashMap<>(); // since when, by the partition's clock
        final Map<String, Long> gone = new HashMap<>(); // newest event time that went on, by sensor
        final String name;
        long heardMs = listenedMs();
        long dueBytes = 0;
        boolean held = false;

        Partition(String name) {
            this.name = name;
        }

        @Override
        public void late(PartitionClock.Arrival reading) {
            emit(reading.row, null, true, null);
        }

        @Override
        public void taken(PartitionClock.Arrival reading) {
            reading.clockMs = wrong.isEmpty() ? null : wrong.remove(reading.sensor);
        }

        @Override
        public void due(PartitionClock.Arrival reading) {
            dueBytes += bytes(reading);
        }

        boolean isToBeHeld() {
            long share = waitingBytes / partitions.size();
            return clock.watermark() > emitted && dueBytes >= (held ? share / 2 : share);
        }

        @Override
        public void ahead(PartitionClock.Arrival reading, long leadMs, long clockMs) {
            boolean known = wrong.putIfAbsent(reading.sensor, clockMs) != null;
            String why = String.format(
                    "its time leads the other readings of its partition by %.3f s, "
                            + "not by %.3f s at most",
                    leadMs / 1000.0, aheadMs / 1000.0);
            emit(reading.row, StringData.fromString(why), false, known ? null : clockMs);
        }

        void release(PartitionClock.Arrival reading) {
            dueBytes -= bytes(reading);
            if (isOvertaken(reading, this)) {
                emit(reading.row, OVERTAKEN, true, null);
                return;
            }
            if (!name.equals(NONE)) {
                gone.put(reading.sensor, reading.time);
            }
            if (reading.time <= emitted) {
                moved = true;
                behind.inc();
            }
            emit(reading.row, null, false, reading.clockMs);
        }
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        super.snapshotState(context);
        long slowest =
                partitions.values().stream()
                        .mapToLong(one -> one.clock.watermark())
                        .min()
                        .orElse(Long.MIN_VALUE);
        for (Partition one : partitions.values()) {
            one.gone.values().removeIf(time -> time <= slowest); // nothing as old comes any more
            setCurrentKey(one.name);
            state.update(stored.write(one.clock, one.wrong, one.gone));
        }
    }

    private void restore() throws Exception {
        Set<String> names;
        try (Stream<String> keys =
                this.<String>getKeyedStateBackend().getKeys("clocks", VoidNamespace.INSTANCE)) {
            names = keys.collect(Collectors.toCollection(HashSet::new));
        }
        for (String name : names) {
            setCurrentKey(name);
            Partition one = partition(name);
            stored.read(state.value(), one.clock, one.wrong, one.gone);
            one.clock.settleDue(one);
        }
    }
}
