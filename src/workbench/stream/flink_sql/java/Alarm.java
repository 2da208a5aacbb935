package workbench;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.AggregateFunction;
import org.apache.flink.types.Row;

/**
 * {@code alarm(k, n, m, above, event_ms, message_id, score, threshold, package, above_past, channel,
 * ...)}: what a sensor's alarm says at a reading; NULL where it says nothing, which is nearly always.
 *
 * <p>It is set when k of the last n readings are above, and says so at once. It is reset after m
 * readings that are not, once the first does not hold any more, and tells from when until when it
 * was on ({@code stop_ms}: NULL while it is), and of its first reading with the highest score.
 *
 * <p>Readings are taken as they come: those of a sensor in the order of event time, as
 * {@link LastReadings} leaves them.
 */
@FunctionHint(
        output =
                @DataTypeHint(
                        "ROW<start_ms BIGINT, peak_ms BIGINT, stop_ms BIGINT, peak_score DOUBLE, "
                                + "threshold DOUBLE, readings BIGINT, package STRING, "
                                + "first_id STRING, last_id STRING, peak ARRAY<DOUBLE>, "
                                + "peak_past BYTES>"))
public final class Alarm extends AggregateFunction<Row, Alarm.Latch> {
    private static final long serialVersionUID = 1L;

    /** What is remembered of a sensor: few numbers, and from `startMs` on its newest alarm. */
    public static final class Latch {
        public long readings = 0; // so far
        public long[] above = new long[0]; // the last k of them that were above, by number
        public boolean on = false;
        public boolean speaks = false; // at the newest reading
        public Long startMs;
        public Long peakMs;
        public Long stopMs;
        public Double peakScore;
        public Double threshold;
        public long length = 0; // readings from the first to the last one while it was on
        public String packageId;
        public String firstId;
        public String lastId;
        public Double[] peak;
        public byte[] peakPast; // the readings up to the peak, by which it is explained
    }

    @Override
    public Latch createAccumulator() {
        return new Latch();
    }

    /** Take one more reading. */
    public void accumulate(
            Latch latch,
            Integer k,
            Integer n,
            Integer m,
            Integer above,
            Long eventMs,
            String messageId,
            Double score,
            Double threshold,
            String packageId,
            byte[] past,
            Double... channels) {
        boolean before = latch.on;
        latch.on = turns(latch, k, n, m, above == 1);
        latch.speaks = latch.on != before;
        if (latch.on && !before) {
            latch.startMs = eventMs;
            latch.stopMs = null;
            latch.threshold = threshold;
            latch.length = 0;
            latch.packageId = packageId;
            latch.firstId = messageId;
        }
        if (latch.on) {
            latch.length++;
            latch.lastId = messageId;
            if (latch.length == 1 || higher(score, latch.peakScore)) {
                latch.peakScore = score;
                latch.peakMs = eventMs;
                latch.peak = channels.clone();
                latch.peakPast = past;
            }
        } else if (before) {
            latch.stopMs = eventMs;
        }
    }

    /** Count a reading, and return whether the alarm is on at it. */
    static boolean turns(Latch latch, int k, int n, int m, boolean above) {
        latch.readings++;
        if (above) {
            latch.above = append(latch.above, latch.readings, k);
        }
        int held = latch.above.length; // more than k where k was larger when the state was saved
        if (held >= k && latch.readings - latch.above[held - k] < n) {
            return true;
        }
        return latch.on && latch.readings - latch.above[held - 1] < m;
    }

    private static long[] append(long[] numbers, long one, int most) {
        int kept = Math.min(numbers.length, most - 1);
        long[] appended = new long[kept + 1];
        System.arraycopy(numbers, numbers.length - kept, appended, 0, kept);
        appended[kept] = one;
        return appended;
    }

    private static boolean higher(Double score, Double than) {
        return score != null && (than == null || score > than);
    }

    @Override
    public Row getValue(Latch latch) {
        if (!latch.speaks) {
            return null;
        }
        return Row.of(
                latch.startMs, latch.peakMs, latch.stopMs, latch.peakScore, latch.threshold,
                latch.length, latch.packageId, latch.firstId, latch.lastId, latch.peak,
                latch.peakPast);
    }
}
