package workbench;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.PriorityQueue;
import java.util.Set;
import org.apache.flink.table.data.RowData;

/**
 * Time in one partition: which readings are late, which are ahead, and which are due.
 *
 * <p>The rule is that of {@code detectors/partition_time.py}, whose text says it; the tests hold the
 * two together. Here readings come one after the other, and those that are taken wait until no
 * earlier one can come that is not late: then they are due, in the order of event time, those of
 * equal time in that of arrival.
 */
final class PartitionClock {
    static final int MEMORY = 100; // readings; as in partition_time.py

    /** A reading, as far as time is concerned. */
    static final class Arrival {
        final long time; // event time, epoch ms
        final String sensor;
        final RowData row;
        long number; // in the order in which readings are taken
        Long clockMs; // where the sensor's clock is right again: since when it was not

        Arrival(long time, String sensor, RowData row) {
            this.time = time;
            this.sensor = sensor;
            this.row = row;
        }
    }

    /** Who is told what readings are. */
    interface Listener {
        void late(Arrival reading);

        void taken(Arrival reading);

        /** It waits for other partitions only: no earlier one of its own can come. */
        void due(Arrival reading);

        /** It leads the partition's clock, or a reading that came after it, by so much. */
        void ahead(Arrival reading, long leadMs, long clockMs);
    }

    final long latenessMs;
    final long aheadMs;

    boolean begun = false;
    private boolean ended = false;
    long clock; // the largest event time that the partition has reached, epoch ms
    Arrival first; // the reading that made the clock, while it is alone
    long taken = 0; // readings so far
    final ArrayDeque<String> recent = new ArrayDeque<>(); // sensors of the last readings
    final ArrayDeque<Arrival> due = new ArrayDeque<>(); // in order
    final PriorityQueue<Arrival> waiting = // for an earlier one of this partition
            new PriorityQueue<>(
                    Comparator.<Arrival>comparingLong(one -> one.time)
                            .thenComparingLong(one -> one.number));
    List<Arrival> doubted = new ArrayList<>();

    PartitionClock(long latenessMs, long aheadMs) {
        this.latenessMs = latenessMs;
        this.aheadMs = aheadMs;
    }

    /** Nothing at or below it comes any more; the smallest long where that is not known. */
    long watermark() {
        if (ended) {
            return Long.MAX_VALUE;
        }
        return begun && first == null ? clock - latenessMs : Long.MIN_VALUE;
    }

    /** Take one reading. */
    void arrive(Arrival reading, Listener listener) {
        ArrayDeque<Arrival> queue = new ArrayDeque<>(1);
        queue.add(reading);
        judge(queue, listener);
        settleDue(listener);
    }

    /** Take those that are doubted, and let all be due: nothing comes any more. */
    void end(Listener listener) {
        while (!doubted.isEmpty()) {
            judge(believed(new ArrayDeque<>()), listener);
        }
        ended = true;
        settleDue(listener);
    }

    /** The next reading that is due, if its time is not after {@code until}; else null. */
    Arrival due(long until) {
        Arrival next = due.peek();
        return next != null && next.time <= until ? next : null;
    }

    /** Let those be due that the clock has passed; it is never put back behind one of them. */
    void settleDue(Listener listener) {
        long mark = watermark();
        while (!waiting.isEmpty() && waiting.peek().time <= mark) {
            Arrival next = waiting.poll();
            due.add(next);
            listener.due(next);
        }
    }

    private void judge(ArrayDeque<Arrival> queue, Listener listener) {
        while (!queue.isEmpty()) {
            Arrival reading = queue.poll();
            if (!begun) {
                begun = true;
                first = reading;
                clock = reading.time;
                take(reading, listener);
            } else if (first != null && clock - reading.time > aheadMs) {
                waiting.remove(first);
                recent.clear();
                listener.ahead(first, clock - reading.time, reading.time);
                first = reading;
                clock = reading.time;
                take(reading, listener);
            } else if (reading.time - clock > aheadMs) {
                doubted.add(reading);
                if (enough()) {
                    queue = believed(queue);
                }
            } else {
                first = null;
                if (clock - reading.time < latenessMs) {
                    settle(reading, listener);
                }
                take(reading, listener);
            }
        }
    }

    /** Decide on the doubted by a reading that is none of them and not late. */
    private void settle(Arrival reading, Listener listener) {
        for (Arrival one : doubted) {
            if (one.time - reading.time > aheadMs) {
                listener.ahead(one, one.time - reading.time, reading.time);
            } else {
                take(one, listener);
            }
        }
        doubted.clear();
    }

    private boolean enough() {
        if (doubted.size() == MEMORY) {
            return true;
        }
        if (doubted.size() < 2) {
            return false;
        }
        Set<String> sensors = new HashSet<>();
        doubted.forEach(one -> sensors.add(one.sensor));
        return 2 * sensors.size() > new HashSet<>(recent).size();
    }

    /** Set the clock to the earliest of the doubted, and judge them anew before what follows. */
    private ArrayDeque<Arrival> believed(ArrayDeque<Arrival> rest) {
        first = null;
        clock = doubted.stream().mapToLong(one -> one.time).min().getAsLong();
        ArrayDeque<Arrival> queue = new ArrayDeque<>(doubted);
        queue.addAll(rest);
        doubted = new ArrayList<>();
        return queue;
    }

    private void take(Arrival reading, Listener listener) {
        recent.add(reading.sensor);
        if (recent.size() > MEMORY) {
            recent.poll();
        }
        if (clock - reading.time >= latenessMs) {
            listener.late(reading);
            return;
        }
        reading.number = taken++;
        listener.taken(reading);
        waiting.add(reading);
        clock = Math.max(clock, reading.time);
    }
}
