package workbench;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.apache.flink.table.functions.ScalarFunction;

/** {@code key_text(bytes)}: the text of a message's key; NULL: there is none, or it is no UTF-8. */
public final class KeyText extends ScalarFunction {
    private static final long serialVersionUID = 1L;

    public String eval(byte[] key) {
        if (key == null) {
            return null;
        }
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(key)).toString();
        } catch (CharacterCodingException err) {
            return null;
        }
    }
}
