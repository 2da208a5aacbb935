package workbench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * {@code last_readings(w, event_ms, channel, ...)}: the last w readings of a sensor, as bytes.
 *
 * <p>A reading is its event time (int64) and one float64 for each channel, NaN where it is missing,
 * all little-endian; the oldest reading comes first.
 *
 * <p>It is for OVER windows of two rows, and remembers what has left them: the last w readings stand
 * in a ring in Flink's state. Flink walks through every row of a frame to take the oldest one out of
 * it, and fires a timer for every sensor at every watermark where a frame has no beginning.
 */
public final class LastReadings extends AggregateFunction<byte[], LastReadings.Ring> {
    private static final long serialVersionUID = 1L;
    private static final int FIRST_READINGS = 8; // many sensors say little: the ring grows

    /** The readings kept of one sensor. */
    public static final class Ring {
        public byte[] readings = new byte[0];
        public int held = 0; // readings in it
        public int oldest = 0; // place of the oldest; 0 until there are w
        public int size = 8; // bytes of a reading
    }

    @Override
    public Ring createAccumulator() {
        return new Ring();
    }

    /** Keep one more reading; from then on w at most. */
    public void accumulate(Ring ring, Integer window, Long eventMs, Double... channels) {
        ring.size = 8 * (1 + channels.length);
        int place = ring.held;
        if (ring.held < window) {
            ring.held++;
            grow(ring, window);
        } else {
            place = ring.oldest;
            ring.oldest = (ring.oldest + 1) % window;
        }
        ByteBuffer bytes = ByteBuffer.wrap(ring.readings).order(ByteOrder.LITTLE_ENDIAN);
        bytes.position(place * ring.size);
        bytes.putLong(eventMs);
        for (Double one : channels) {
            bytes.putDouble(one == null ? Double.NaN : one);
        }
    }

    /** Nothing: a reading that leaves the frame stays in the ring. */
    public void retract(Ring ring, Integer window, Long eventMs, Double... channels) {}

    private static void grow(Ring ring, int window) {
        if (ring.readings.length < ring.held * ring.size) {
            int more = Math.min(window, Math.max(FIRST_READINGS, 2 * ring.held));
            ring.readings = Arrays.copyOf(ring.readings, more * ring.size);
        }
    }

    @Override
    public byte[] getValue(Ring ring) {
        byte[] found = new byte[ring.held * ring.size];
        int split = ring.oldest * ring.size;
        System.arraycopy(ring.readings, split, found, 0, found.length - split);
        System.arraycopy(ring.readings, 0, found, found.length - split, split);
        return found;
    }
}
