package workbench;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.AggregateFunction;
import org.apache.flink.types.Row;

/**
 * {@code lasting_alarm(k, n, m, after_ms, above, event_ms, message_id)}: what is to be said at a
 * reading of an alarm that lasts; NULL nearly always.
 *
 * <p>Once an alarm, set and reset as {@link Alarm} does, has been on for {@code after_ms} of event
 * time, that is said; and when it has ended, until when it was on ({@code stop_ms}: NULL while it
 * is). One that pauses for less than a tenth of that time goes on, as in {@code
 * detectors/refits/changing.py}.
 */
@FunctionHint(
        output =
                @DataTypeHint(
                        "ROW<start_ms BIGINT, stop_ms BIGINT, first_id STRING, last_id STRING>"))
public final class LastingAlarm extends AggregateFunction<Row, LastingAlarm.Stretch> {
    private static final long serialVersionUID = 1L;
    private static final int PAUSES = 10; // in the time after which an alarm lasts

    /** What is remembered of a sensor. */
    public static final class Stretch {
        public Alarm.Latch latch = new Alarm.Latch();
        public Long startMs; // NULL: no alarm
        public Long offMs; // since when it pauses; NULL: it is on
        public String firstId;
        public String lastId;
        public boolean lasts = false; // and that was said
        public boolean speaks = false; // at the newest reading, of the alarm in `spoken`
        public Spoken spoken = new Spoken();
    }

    /** What is said of an alarm. */
    public static final class Spoken {
        public Long startMs;
        public Long stopMs;
        public String firstId;
        public String lastId;
    }

    @Override
    public Stretch createAccumulator() {
        return new Stretch();
    }

    /** Take one more reading. */
    public void accumulate(
            Stretch stretch,
            Integer k,
            Integer n,
            Integer m,
            Long afterMs,
            Integer above,
            Long eventMs,
            String messageId) {
        stretch.speaks = false;
        stretch.latch.on = Alarm.turns(stretch.latch, k, n, m, above == 1);
        if (!stretch.latch.on && stretch.startMs != null && stretch.offMs == null) {
            stretch.offMs = eventMs;
        }
        if (stretch.offMs != null && PAUSES * (eventMs - stretch.offMs) >= afterMs) {
            end(stretch);
        }
        if (stretch.latch.on) {
            goOn(stretch, afterMs, eventMs, messageId);
        }
    }

    private static void end(Stretch stretch) {
        if (stretch.lasts) {
            speak(stretch, stretch.offMs);
        }
        stretch.startMs = null;
        stretch.offMs = null;
        stretch.lasts = false;
    }

    private static void goOn(Stretch stretch, long afterMs, long eventMs, String messageId) {
        if (stretch.startMs == null) {
            stretch.startMs = eventMs;
            stretch.firstId = messageId;
        }
        stretch.offMs = null;
        stretch.lastId = messageId;
        if (!stretch.lasts && eventMs - stretch.startMs >= afterMs) {
            stretch.lasts = true;
            speak(stretch, null);
        }
    }

    private static void speak(Stretch stretch, Long stopMs) {
        stretch.speaks = true;
        stretch.spoken.startMs = stretch.startMs;
        stretch.spoken.stopMs = stopMs;
        stretch.spoken.firstId = stretch.firstId;
        stretch.spoken.lastId = stretch.lastId;
    }

    @Override
    public Row getValue(Stretch stretch) {
        if (!stretch.speaks) {
            return null;
        }
        Spoken spoken = stretch.spoken;
        return Row.of(spoken.startMs, spoken.stopMs, spoken.firstId, spoken.lastId);
    }
}
