package workbench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * {@code change_per_s(past, channels, place)}: how fast a channel changes, from the reading before
 * to the newest one, per second; NULL where one of them is missing or both have the same time.
 * {@code past} is what {@link LastReadings} made of the channels, {@code place} counts from 0.
 */
public final class ChangePerSecond extends ScalarFunction {
    private static final long serialVersionUID = 1L;

    public Double eval(byte[] past, Integer channels, Integer place) {
        int size = 8 * (1 + channels);
        if (past.length < 2 * size) {
            return null;
        }
        ByteBuffer bytes = ByteBuffer.wrap(past).order(ByteOrder.LITTLE_ENDIAN);
        int newest = past.length - size;
        int value = newest + 8 * (1 + place);
        double seconds = (bytes.getLong(newest) - bytes.getLong(newest - size)) / 1000.0;
        double change = (bytes.getDouble(value) - bytes.getDouble(value - size)) / seconds;
        return Double.isNaN(change) || Double.isInfinite(change) ? null : change;
    }
}
