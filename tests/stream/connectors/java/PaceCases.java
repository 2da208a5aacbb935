package workbench;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.source.reader.RecordsBySplits;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.base.source.reader.SingleThreadMultiplexSourceReaderBase;
import org.apache.flink.connector.base.source.reader.splitreader.SplitReader;
import org.apache.flink.connector.base.source.reader.splitreader.SplitsChange;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/**
 * Jobs on Flink's mini cluster whose readings come from a topic in memory: which partitions they
 * let stand still, and when. What a case prints is told in test_pace.py.
 */
public final class PaceCases {
    private static final String JOB = "job";
    private static final DataType ROW = DataTypes.ROW(
            DataTypes.FIELD("partition", DataTypes.STRING()),
            DataTypes.FIELD("pump", DataTypes.STRING()),
            DataTypes.FIELD("event_ms", DataTypes.BIGINT().notNull()),
            DataTypes.FIELD("fault", DataTypes.STRING()));
    private static final DataType ORDERED = DataTypes.ROW(
            DataTypes.FIELD("partition", DataTypes.STRING()),
            DataTypes.FIELD("pump", DataTypes.STRING()),
            DataTypes.FIELD("event_ms", DataTypes.BIGINT().notNull()),
            DataTypes.FIELD("fault", DataTypes.STRING()),
            DataTypes.FIELD("refused", DataTypes.STRING()),
            DataTypes.FIELD("late", DataTypes.BOOLEAN().notNull()),
            DataTypes.FIELD("clock_ms", DataTypes.BIGINT()));

    static final Set<String> KNOWN = ConcurrentHashMap.newKeySet(); // partitions that are found
    static final Map<String, Queue<Long>> TIMES = new ConcurrentHashMap<>(); // to be read
    static final Map<String, AtomicInteger> READ = new ConcurrentHashMap<>();
    static final Queue<String> PAUSED = new ConcurrentLinkedQueue<>(); // attempt and split
    static final AtomicInteger ATTEMPTS = new AtomicInteger();
    static final Semaphore TAKING = new Semaphore(1_000_000); // behind the order
    static final AtomicInteger TAKEN = new AtomicInteger();
    static final AtomicInteger OVERTAKEN = new AtomicInteger();
    private static final int COUNT = 5000;
    private static final long IDLE_MS = 4000;

    public static void main(String[] arguments) throws Exception {
        for (String split : List.of("t-0", "t-1")) {
            TIMES.put(split, new ConcurrentLinkedQueue<>());
            READ.put(split, new AtomicInteger());
        }
        try {
            run(arguments[0]);
        } catch (Exception err) {
            err.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    private static void run(String name) throws Exception {
        switch (name) {
            case "added":
                added();
                break;
            case "restart":
                restart();
                break;
            case "blocked":
                blocked();
                break;
            case "paused":
                paused();
                break;
            default:
                within();
        }
    }

    /** A partition is found while it is asked to stand still; then it may go on. */
    private static void added() throws Exception {
        give("t-0", 1_000_000, 1);
        give("t-1", 1_000_000, 1);
        Pace.of(JOB).hold(Set.of("1"));
        KNOWN.add("t-0");
        start(false, 1, 0, 1);
        await(() -> READ.get("t-0").get() > 100);
        KNOWN.add("t-1");
        await(() -> READ.get("t-1").get() > 0 || !PAUSED.isEmpty());
        Thread.sleep(2500);
        int before = READ.get("t-1").get();
        Thread.sleep(1500);
        System.out.println(READ.get("t-1").get() - before);
        Pace.of(JOB).hold(Set.of());
        Thread.sleep(1500);
        System.out.println(READ.get("t-1").get() > before + 100);
    }

    /** The job fails while a partition stands still, and begins anew with nothing to wait for. */
    private static void restart() throws Exception {
        KNOWN.addAll(List.of("t-0", "t-1"));
        give("t-1", 1_000_000, 1000);
        start(true, 1, 60_000, 10_000);
        await(() -> PAUSED.contains("1 t-1"));
        TIMES.get("t-1").clear();
        TIMES.get("t-0").add(-1L);
        await(() -> ATTEMPTS.get() == 2);
        Thread.sleep(2500);
        System.out.println(PAUSED.contains("1 t-1") + " " + PAUSED.contains("2 t-1"));
    }

    /** Two partitions in step, and all of their readings within the lateness. */
    private static void within() throws Exception {
        KNOWN.addAll(List.of("t-0", "t-1"));
        give("t-0", 5000, 10);
        give("t-1", 5000, 10);
        start(true, 3_600_000, 60_000, 10_000);
        await(() -> READ.get("t-0").get() == 5000 && READ.get("t-1").get() == 5000);
        System.out.println(PAUSED.size());
    }

    /** What is behind the order takes nothing for longer than a partition is waited for. */
    private static void blocked() throws Exception {
        KNOWN.addAll(List.of("t-0", "t-1"));
        give("t-0", 1, 1);
        give("t-1", COUNT, 1);
        start(true, 1, IDLE_MS, 1 << 30);
        await(() -> READ.get("t-1").get() == COUNT);
        TAKING.drainPermits();
        give("t-0", COUNT, 1);
        Thread.sleep(4 * IDLE_MS);
        boolean stood = READ.get("t-0").get() < COUNT;
        TAKING.release(1_000_000);
        await(() -> READ.get("t-0").get() == COUNT + 1
                && TAKEN.get() + OVERTAKEN.get() >= 2 * COUNT - 2);
        System.out.println(stood + " " + OVERTAKEN.get());
    }

    /** The process stands still for longer than that; whoever started it sees to it. */
    private static void paused() throws Exception {
        KNOWN.addAll(List.of("t-0", "t-1"));
        give("t-0", 1, 1);
        give("t-1", COUNT, 1);
        start(true, 1, 2 * IDLE_MS, 1 << 30);
        await(() -> READ.get("t-1").get() == COUNT);
        System.out.println("ready");
        awaitPause(2 * IDLE_MS);
        Thread.sleep(1500); // the operator has looked at the clock meanwhile
        give("t-0", COUNT, 1);
        await(() -> TAKEN.get() + OVERTAKEN.get() >= 2 * COUNT - 2);
        System.out.println(OVERTAKEN.get());
    }

    private static void awaitPause(long ms) throws InterruptedException {
        for (long before = System.nanoTime(); ; before = System.nanoTime()) {
            Thread.sleep(50);
            if (System.nanoTime() - before > ms * 1_000_000) {
                return;
            }
        }
    }

    private static RowData taken(RowData row) throws InterruptedException {
        TAKING.acquire();
        (row.isNullAt(4) ? TAKEN : OVERTAKEN).incrementAndGet();
        return row;
    }

    private static void give(String split, int count, int stepMs) {
        for (int number = 1; number <= count; number++) {
            TIMES.get(split).add((long) number * stepMs);
        }
    }

    private static void await(BooleanSupplier condition) throws InterruptedException {
        long until = System.nanoTime() + 60_000_000_000L;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > until) {
                throw new IllegalStateException("read " + READ + ", paused " + PAUSED);
            }
            Thread.sleep(5);
        }
    }

    private static void start(
            boolean ordered, long latenessMs, long idleMs, long waitingBytes) throws Exception {
        Configuration settings = new Configuration();
        settings.setString("restart-strategy.type", "fixed-delay");
        settings.setString("restart-strategy.fixed-delay.delay", "100 ms");
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("taskmanager.memory.segment-size", "4kb"); // so that little is on the way
        settings.setString("taskmanager.network.memory.floating-buffers-per-gate", "1");
        StreamExecutionEnvironment flink =
                StreamExecutionEnvironment.createLocalEnvironment(1, settings);
        RowType type = (RowType) ROW.getLogicalType();
        TypeInformation<RowData> rows = InternalTypeInfo.of(type);
        DataStream<RowData> topic =
                flink.fromSource(new Topic(), WatermarkStrategy.noWatermarks(), "topic", rows);
        PacedSource.pace(topic.getTransformation(), JOB);
        DataStream<RowData> readings = topic.map(PaceCases::whole).returns(rows);
        if (ordered) {
            readings = readings.keyBy(row -> row.getString(0).toString(), Types.STRING)
                    .transform(
                            "order",
                            InternalTypeInfo.of(ORDERED.getLogicalType()),
                            new PartitionOrder(
                                    type, 2, 1, 3, latenessMs, 86_400_000, idleMs, waitingBytes,
                                    JOB, new String[] {"0", "1"}))
                    .setParallelism(1);
            readings = readings.map(PaceCases::taken)
                    .returns(InternalTypeInfo.of((RowType) ORDERED.getLogicalType()))
                    .disableChaining();
        }
        readings.sinkTo(new DiscardingSink<>());
        flink.executeAsync();
    }

    private static RowData whole(RowData row) {
        if (row.getLong(2) < 0) {
            throw new IllegalStateException("a reading at which the job fails");
        }
        return row;
    }

    /** A partition. */
    static final class Part implements SourceSplit {
        final String name;

        Part(String name) {
            this.name = name;
        }

        @Override
        public String splitId() {
            return name;
        }
    }

    /** Bytes of what has a name, or of nothing. */
    static final class Names<N> implements SimpleVersionedSerializer<N> {
        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(N part) {
            return part == null ? new byte[0] : ((Part) part).name.getBytes();
        }

        @Override
        @SuppressWarnings("unchecked")
        public N deserialize(int version, byte[] bytes) {
            return (N) (bytes.length == 0 ? null : new Part(new String(bytes)));
        }
    }

    /** The source: one reader, one thread that reads all partitions in turn. */
    static final class Topic implements Source<RowData, Part, Void> {
        private static final long serialVersionUID = 1L;

        @Override
        public Boundedness getBoundedness() {
            return Boundedness.CONTINUOUS_UNBOUNDED;
        }

        @Override
        public SourceReader<RowData, Part> createReader(SourceReaderContext context) {
            return new Reader(context, ATTEMPTS.incrementAndGet());
        }

        @Override
        public SplitEnumerator<Part, Void> createEnumerator(SplitEnumeratorContext<Part> context) {
            return new Found(context);
        }

        @Override
        public SplitEnumerator<Part, Void> restoreEnumerator(
                SplitEnumeratorContext<Part> context, Void state) {
            return new Found(context);
        }

        @Override
        public SimpleVersionedSerializer<Part> getSplitSerializer() {
            return new Names<>();
        }

        @Override
        public SimpleVersionedSerializer<Void> getEnumeratorCheckpointSerializer() {
            return new Names<>();
        }
    }

    /** Gives the reader each partition as soon as it is known. */
    static final class Found implements SplitEnumerator<Part, Void> {
        private final SplitEnumeratorContext<Part> context;
        private final Set<String> assigned = new HashSet<>();

        Found(SplitEnumeratorContext<Part> context) {
            this.context = context;
        }

        @Override
        public void start() {
            context.callAsync(() -> new LinkedHashSet<>(KNOWN), (known, fault) -> assign(known), 0, 20);
        }

        private void assign(Set<String> known) {
            for (String name : known) {
                if (context.registeredReaders().containsKey(0) && assigned.add(name)) {
                    context.assignSplit(new Part(name), 0);
                }
            }
        }

        @Override
        public void handleSplitRequest(int subtask, String host) {}

        @Override
        public void addSplitsBack(List<Part> parts, int subtask) {
            parts.forEach(part -> assigned.remove(part.name));
        }

        @Override
        public void addReader(int subtask) {}

        @Override
        public Void snapshotState(long checkpoint) {
            return null;
        }

        @Override
        public void close() {}
    }

    /** Flink's own reader, with a thread that fetches. */
    static final class Reader
            extends SingleThreadMultiplexSourceReaderBase<RowData, RowData, Part, Part> {

        Reader(SourceReaderContext context, int attempt) {
            super(
                    () -> new Fetcher(attempt),
                    (row, output, part) -> output.collect(row),
                    new Configuration(),
                    context);
        }

        @Override
        protected void onSplitFinished(Map<String, Part> finished) {}

        @Override
        protected Part initializedState(Part part) {
            return part;
        }

        @Override
        protected Part toSplitType(String name, Part part) {
            return part;
        }
    }

    /** Twenty readings at a time of each partition that does not stand still. */
    static final class Fetcher implements SplitReader<RowData, Part> {
        private final int attempt;
        private final Set<String> running = new LinkedHashSet<>();

        Fetcher(int attempt) {
            this.attempt = attempt;
        }

        @Override
        public RecordsWithSplitIds<RowData> fetch() {
            RecordsBySplits.Builder<RowData> fetched = new RecordsBySplits.Builder<>();
            for (String split : running) {
                for (int left = 20; left > 0 && !TIMES.get(split).isEmpty(); left--) {
                    fetched.add(split, row(split, TIMES.get(split).poll()));
                    READ.get(split).incrementAndGet();
                }
            }
            try {
                Thread.sleep(5);
            } catch (InterruptedException err) {
                Thread.currentThread().interrupt();
            }
            return fetched.build();
        }

        private static RowData row(String split, long time) {
            return GenericRowData.of(
                    StringData.fromString(split.substring(2)),
                    StringData.fromString("pump"), time, null);
        }

        @Override
        public void handleSplitsChanges(SplitsChange<Part> change) {
            change.splits().forEach(part -> running.add(part.name));
        }

        @Override
        public void pauseOrResumeSplits(Collection<Part> paused, Collection<Part> resumed) {
            List<String> names = new ArrayList<>();
            paused.forEach(part -> names.add(part.name));
            running.removeAll(names);
            resumed.forEach(part -> running.add(part.name));
            names.forEach(name -> PAUSED.add(attempt + " " + name));
        }

        @Override
        public void wakeUp() {}

        @Override
        public void close() {}
    }
}
