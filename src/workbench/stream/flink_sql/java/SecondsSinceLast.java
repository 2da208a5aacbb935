package workbench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * {@code seconds_since_last(past, channels)}: from the reading before to the newest one, by event
 * time; NULL for the first. {@code past} is what {@link LastReadings} made.
 */
public final class SecondsSinceLast extends ScalarFunction {
    private static final long serialVersionUID = 1L;

    public Double eval(byte[] past, Integer channels) {
        int size = 8 * (1 + channels);
        if (past.length < 2 * size) {
            return null;
        }
        ByteBuffer bytes = ByteBuffer.wrap(past).order(ByteOrder.LITTLE_ENDIAN);
        int newest = past.length - size;
        return (bytes.getLong(newest) - bytes.getLong(newest - size)) / 1000.0;
    }
}
