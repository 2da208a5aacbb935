package workbench;

import org.apache.flink.table.functions.ScalarFunction;

/**
 * {@code message_id_text(bytes)}: "ledger:entry:partition:batch" of one serialised message id.
 *
 * <p>Source: apache/pulsar, PulsarApi.proto, MessageIdData: varints 1 ledgerId, 2 entryId,
 * 3 partition (-1 if unset), 4 batch_index (-1 if unset).
 */
public final class MessageIdText extends ScalarFunction {
    private static final long serialVersionUID = 1L;

    public String eval(byte[] encoded) {
        if (encoded == null) {
            return null;
        }
        long[] values = {0, 0, 0, -1, -1};
        int position = 0;
        while (position < encoded.length) {
            int tag = encoded[position++];
            if ((tag & 7) != 0 || tag >> 3 > 4) { // ack_set and what follows: not part of an id
                break;
            }
            long value = 0;
            int shift = 0;
            byte next;
            do {
                next = encoded[position++];
                value |= (long) (next & 0x7F) << shift;
                shift += 7;
            } while (next < 0);
            values[tag >> 3] = value;
        }
        return values[1] + ":" + values[2] + ":" + (int) values[3] + ":" + (int) values[4];
    }
}
