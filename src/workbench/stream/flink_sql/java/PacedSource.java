package workbench;

import java.lang.reflect.Field;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.dag.Transformation;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.streaming.api.transformations.SourceTransformation;

/**
 * A source of partitions, any connector's, that lets stand still those which {@link Pace} names.
 *
 * <p>(Flink's watermark alignment pauses what leads by time. It needs watermarks in the source, which
 * a table of Pulsar does not have; a single clock that is a day ahead would stop a partition for a
 * day; and a span of time is no bound on how many readings wait.)
 */
final class PacedSource<T, S extends SourceSplit, E> implements Source<T, S, E> {
    private static final long serialVersionUID = 1L;
    // splits are called as partitions are: `topic-partition-3|[...]` by Pulsar's connector,
    // `topic-3` by Kafka's
    private static final Pattern NUMBER = Pattern.compile("-([0-9]+)(\\|.*)?$");

    // not equal to any that is asked for, as sets are compared here: by which one it is
    private static final Set<String> UNTOLD = new HashSet<>();
    // of a split whose thread has not begun, Flink forgets without a word that it is to stand still
    private static final long AGAIN_NS = 1_000_000_000;

    private final Source<T, S, E> source;
    private final String job;

    private PacedSource(Source<T, S, E> source, String job) {
        this.source = source;
        this.job = job;
    }

    /** Put one around each source that these readings come from. */
    static void pace(Transformation<?> readings, String job) throws ReflectiveOperationException {
        for (Transformation<?> each : readings.getTransitivePredecessors()) {
            if (each instanceof SourceTransformation) {
                // made by the planner out of a table, and meant to stay as it was made
                Field field = SourceTransformation.class.getDeclaredField("source");
                field.setAccessible(true);
                field.set(each, new PacedSource<>((Source<?, ?, ?>) field.get(each), job));
            }
        }
    }

    @Override
    public SourceReader<T, S> createReader(SourceReaderContext context) throws Exception {
        return new Reader(source.createReader(context));
    }

    @Override
    public Boundedness getBoundedness() {
        return source.getBoundedness();
    }

    @Override
    public SplitEnumerator<S, E> createEnumerator(SplitEnumeratorContext<S> context)
            throws Exception {
        return source.createEnumerator(context);
    }

    @Override
    public SplitEnumerator<S, E> restoreEnumerator(SplitEnumeratorContext<S> context, E checkpoint)
            throws Exception {
        return source.restoreEnumerator(context, checkpoint);
    }

    @Override
    public SimpleVersionedSerializer<S> getSplitSerializer() {
        return source.getSplitSerializer();
    }

    @Override
    public SimpleVersionedSerializer<E> getEnumeratorCheckpointSerializer() {
        return source.getEnumeratorCheckpointSerializer();
    }

    private final class Reader implements SourceReader<T, S> {
        private final SourceReader<T, S> reader;
        private final Pace pace = Pace.of(job);
        private final Set<String> splits = new LinkedHashSet<>();
        private Set<String> held = UNTOLD;
        private Set<String> standing = Set.of(); // splits
        private long toldNs;

        Reader(SourceReader<T, S> reader) {
            this.reader = reader;
        }

        @Override
        public InputStatus pollNext(ReaderOutput<T> output) throws Exception {
            if (held != pace.held()) {
                follow();
            } else if (!standing.isEmpty() && System.nanoTime() - toldNs > AGAIN_NS) {
                tell(standing, Set.of());
            }
            return reader.pollNext(output);
        }

        private void follow() {
            held = pace.held();
            Set<String> paused = new LinkedHashSet<>();
            for (String split : splits) {
                Matcher number = NUMBER.matcher(split);
                if (number.find() && held.contains(number.group(1))) {
                    paused.add(split);
                }
            }
            Set<String> resumed = new LinkedHashSet<>(standing);
            resumed.removeAll(paused);
            standing = paused;
            if (!paused.isEmpty() || !resumed.isEmpty()) {
                tell(paused, resumed);
            }
        }

        private void tell(Set<String> paused, Set<String> resumed) {
            toldNs = System.nanoTime();
            reader.pauseOrResumeSplits(List.copyOf(paused), List.copyOf(resumed));
        }

        @Override
        public CompletableFuture<Void> isAvailable() {
            CompletableFuture<Void> change = pace.change();
            if (held != pace.held()) {
                return CompletableFuture.completedFuture(null);
            }
            CompletableFuture<Void> more = reader.isAvailable();
            return more.isDone() ? more : CompletableFuture.anyOf(more, change).thenAccept(x -> {});
        }

        @Override
        public void addSplits(List<S> more) {
            more.forEach(split -> splits.add(split.splitId()));
            reader.addSplits(more);
            held = UNTOLD; // as they are added, none of them stands still
        }

        @Override
        public void start() {
            reader.start();
        }

        @Override
        public List<S> snapshotState(long checkpoint) {
            return reader.snapshotState(checkpoint);
        }

        @Override
        public void notifyNoMoreSplits() {
            reader.notifyNoMoreSplits();
        }

        @Override
        public void handleSourceEvents(SourceEvent event) {
            reader.handleSourceEvents(event);
        }

        @Override
        public void notifyCheckpointComplete(long checkpoint) throws Exception {
            reader.notifyCheckpointComplete(checkpoint);
        }

        @Override
        public void notifyCheckpointAborted(long checkpoint) throws Exception {
            reader.notifyCheckpointAborted(checkpoint);
        }

        @Override
        public void close() throws Exception {
            reader.close();
        }
    }
}
