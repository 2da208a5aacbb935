package workbench;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Which partitions of a job are to be read no further for now: what {@link PartitionOrder} asks of
 * {@link PacedSource}.
 *
 * <p>Flink's tasks tell those before them nothing but to stop altogether. These two share a slot, so
 * they are in one process; where they were not, every partition would be read as fast as it goes,
 * and more would wait.
 */
final class Pace {
    private static final Map<String, Pace> BY_JOB = new ConcurrentHashMap<>();

    private volatile Set<String> held = Set.of();
    private volatile CompletableFuture<Void> change = new CompletableFuture<>();

    static Pace of(String job) {
        return BY_JOB.computeIfAbsent(job, name -> new Pace());
    }

    /** Ask that these partitions stand still, and all others go on. */
    void hold(Set<String> partitions) {
        if (partitions.equals(held)) {
            return;
        }
        held = partitions;
        CompletableFuture<Void> before = change;
        change = new CompletableFuture<>();
        before.complete(null);
    }

    /** The partitions that are to stand still; another set whenever they are others. */
    Set<String> held() {
        return held;
    }

    /** Done when others are to stand still; to be asked for before {@link #held}. */
    CompletableFuture<Void> change() {
        return change;
    }
}
