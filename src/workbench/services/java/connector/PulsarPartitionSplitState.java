package org.apache.flink.connector.pulsar.source.split;

import org.apache.flink.connector.pulsar.source.enumerator.topic.TopicPartition;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.transaction.TxnID;

/**
 * How far a reader has come in a partition.
 *
 * <p>In place of the connector's class of this name, which forgets on restore how far it had come
 * until the next message: {@code PulsarRecordEmitter} has to know, and so does a checkpoint that
 * is taken before that message.
 */
public class PulsarPartitionSplitState {
    private final PulsarPartitionSplit split;
    private TxnID uncommittedTransactionId;
    private MessageId latestConsumedId;

    public PulsarPartitionSplitState(PulsarPartitionSplit split) {
        this.split = split;
        this.latestConsumedId = split.getLatestConsumedId();
    }

    public PulsarPartitionSplit toPulsarPartitionSplit() {
        return new PulsarPartitionSplit(
                split.getPartition(),
                split.getStopCursor(),
                latestConsumedId,
                uncommittedTransactionId);
    }

    public TopicPartition getPartition() {
        return split.getPartition();
    }

    public TxnID getUncommittedTransactionId() {
        return uncommittedTransactionId;
    }

    public void setUncommittedTransactionId(TxnID id) {
        this.uncommittedTransactionId = id;
    }

    public MessageId getLatestConsumedId() {
        return latestConsumedId;
    }

    public void setLatestConsumedId(MessageId id) {
        this.latestConsumedId = id;
    }
}
