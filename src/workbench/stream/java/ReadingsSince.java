package workbench;

import org.apache.flink.table.functions.AggregateFunction;

/**
 * {@code readings_since(condition)}: how many readings ago the condition last held, 0 if it does
 * now, NULL if it never did. As {@link LastReadings}, it remembers what has left its frame.
 */
public final class ReadingsSince extends AggregateFunction<Long, ReadingsSince.Count> {
    private static final long serialVersionUID = 1L;

    /** Readings since then; -1: it never held. */
    public static final class Count {
        public long readings = -1;
    }

    @Override
    public Count createAccumulator() {
        return new Count();
    }

    /** Count one more reading. */
    public void accumulate(Count count, Boolean condition) {
        if (condition != null && condition) {
            count.readings = 0;
        } else if (count.readings >= 0) {
            count.readings++;
        }
    }

    /** Nothing: a reading that leaves the frame still counts. */
    public void retract(Count count, Boolean condition) {}

    @Override
    public Long getValue(Count count) {
        return count.readings < 0 ? null : count.readings;
    }
}
