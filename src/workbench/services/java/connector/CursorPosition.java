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
 * <p>A seek disconnects the consumer, which connects anew after 0.1 s. It is closed when it has: of
 * one that is connecting the broker would hear nothing. At the answer to what it had asked before, the
 * client cuts the connection that all partitions share; or, if that comes at the same moment, it does
 * not, and the consumer keeps the partition from the one that reads it for as long as the job lives.
 *
 * <p>What fails is tried again.
 */
public final class CursorPosition implements Serializable {
    private static final long serialVersionUID = 1L;

    /** Name of the consumer that is there for a moment, which is not yet the one that reads. */
    private static final String NAME = "workbench-position"; // as in connector.py

    private static final int ATTEMPTS = 10;
    private static final long PAUSE_MS = 500;
    private static final long LOOK_MS = 10; // at whether it is connected
    private static final long LONGEST_NS = 30_000_000_000L; // as a client waits for an answer

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
                pause(PAUSE_MS);
            }
        }
    }

    private static void pause(long milliseconds) throws PulsarClientException {
        try {
            Thread.sleep(milliseconds);
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
                        .receiverQueueSize(1) // nobody takes them
                        .subscribe()) {
            try {
                seek(consumer);
            } finally {
                awaitConnection(consumer);
            }
        }
    }

    private void seek(Consumer<?> consumer) throws PulsarClientException {
        if (timestamp != null) {
            consumer.seek(timestamp);
        } else {
            consumer.seek(first());
        }
    }

    private static void awaitConnection(Consumer<?> consumer) throws PulsarClientException {
        long begin = System.nanoTime();
        while (!consumer.isConnected()) {
            if (System.nanoTime() - begin > LONGEST_NS) {
                throw new PulsarClientException(
                        consumer.getTopic() + " did not connect again after it was put at a position");
            }
            pause(LOOK_MS);
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
