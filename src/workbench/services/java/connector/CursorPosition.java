package org.apache.flink.connector.pulsar.source.enumerator.cursor;

import java.io.Serializable;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.MessageIdAdv;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.impl.ChunkMessageIdImpl;
import org.apache.pulsar.client.impl.MessageIdImpl;

/**
 * Where a subscription begins to read.
 *
 * <p>In place of the connector's class of this name. A reader that is restored reads on behind the
 * last message that was in the checkpoint. Where that one stands in a batch, the connector goes on
 * behind the whole batch and loses its rest (FLINK-36180). Here it goes on with the batch, and
 * {@code PulsarRecordEmitter} leaves out what was in the checkpoint.
 *
 * <p>It is tried again where it fails. A broker that takes more than 0.1 s for a seek finds the
 * consumer connecting anew, and then closed: at its late answer the client cuts the connection that
 * all partitions share, and the next one's position would fail, and with it the job.
 */
public final class CursorPosition implements Serializable {
    private static final long serialVersionUID = 1L;

    /** Name of the consumer that is there for a moment, which is not yet the one that reads. */
    private static final String NAME = "workbench-position"; // as in connector.py

    private static final int ATTEMPTS = 10;
    private static final long PAUSE_MS = 500;

    private final MessageId messageId;
    private final boolean include;
    private final Long timestamp;

    public CursorPosition(MessageId messageId, boolean include) {
        this.messageId = messageId;
        this.include = include;
        this.timestamp = null;
    }

    /** Where the subscription is. */
    public static CursorPosition ofSubscription() {
        return new CursorPosition(null);
    }

    public CursorPosition(Long timestamp) {
        this.messageId = null;
        this.include = true;
        this.timestamp = timestamp;
    }

    /** Let a subscription, which nobody reads now, begin here; make it if need be. */
    public void setupSubPosition(PulsarClient client, String topic, String subscription)
            throws PulsarClientException {
        if (messageId == null && timestamp == null) {
            return;
        }
        for (int attempt = 1; ; attempt++) {
            try {
                seek(client, topic, subscription);
                return;
            } catch (PulsarClientException err) {
                if (attempt == ATTEMPTS) {
                    throw err;
                }
                pause();
            }
        }
    }

    private static void pause() throws PulsarClientException {
        try {
            Thread.sleep(PAUSE_MS);
        } catch (InterruptedException err) {
            Thread.currentThread().interrupt();
            throw new PulsarClientException(err);
        }
    }

    private void seek(PulsarClient client, String topic, String subscription)
            throws PulsarClientException {
        try (Consumer<?> consumer =
                client.newConsumer(Schema.AUTO_CONSUME())
                        .topic(topic)
                        .subscriptionName(subscription)
                        .consumerName(NAME)
                        .subscribe()) {
            if (timestamp != null) {
                consumer.seek(timestamp);
            } else {
                consumer.seek(first());
            }
        }
    }

    private MessageId first() {
        MessageIdAdv id =
                messageId instanceof ChunkMessageIdImpl
                        ? ((ChunkMessageIdImpl) messageId).getFirstChunkMessageId()
                        : (MessageIdAdv) messageId;
        if (include) {
            return id;
        }
        long entry = id.getBatchIndex() < 0 ? id.getEntryId() + 1 : id.getEntryId();
        return new MessageIdImpl(id.getLedgerId(), entry, id.getPartitionIndex());
    }

    @Override
    public String toString() {
        return timestamp != null ? "timestamp: " + timestamp : "message id: " + messageId;
    }
}
