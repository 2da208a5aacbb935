package org.apache.flink.connector.pulsar.source.enumerator.cursor.start;

import java.util.Objects;
import org.apache.flink.connector.pulsar.source.enumerator.cursor.CursorPosition;
import org.apache.flink.connector.pulsar.source.enumerator.cursor.StartCursor;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.MessageIdAdv;

/**
 * Where the partitions of a topic are begun to be read.
 *
 * <p>In place of the connector's class of this name, to which "latest" means the moment at which a
 * partition is found: of one that is added while the job runs it would leave out what was published
 * before, and of all of them where the job begins anew before its first checkpoint. Here the latest
 * message id that names a partition holds for the partitions up to that one, and means where their
 * subscription is, which was made when the job was submitted ({@code connectors/pulsar.py}); later ones,
 * which were not there then, are read from their first message.
 */
public class MessageIdStartCursor implements StartCursor {
    private static final long serialVersionUID = 1L;

    private final MessageId messageId;
    private final boolean inclusive;

    public MessageIdStartCursor(MessageId messageId, boolean inclusive) {
        this.messageId = messageId;
        this.inclusive = inclusive;
    }

    @Override
    public CursorPosition position(String topic, int partition) {
        MessageIdAdv id = (MessageIdAdv) messageId;
        MessageIdAdv latest = (MessageIdAdv) MessageId.latest;
        if (id.getLedgerId() != latest.getLedgerId() || id.getPartitionIndex() < 0) {
            return new CursorPosition(messageId, inclusive);
        }
        return partition <= id.getPartitionIndex()
                ? CursorPosition.ofSubscription()
                : new CursorPosition(MessageId.earliest, true);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof MessageIdStartCursor
                && messageId.equals(((MessageIdStartCursor) other).messageId);
    }

    @Override
    public int hashCode() {
        return Objects.hash(messageId);
    }
}
