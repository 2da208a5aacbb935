package org.apache.flink.connector.pulsar.source.reader;

import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.connector.base.source.reader.RecordEmitter;
import org.apache.flink.connector.pulsar.source.reader.deserializer.PulsarDeserializationSchema;
import org.apache.flink.connector.pulsar.source.split.PulsarPartitionSplitState;
import org.apache.flink.util.Collector;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;

/**
 * Passes on each message of a partition once: never one at or before the last it passed on.
 *
 * <p>In place of the connector's class of this name, which passes on whatever comes. Messages come
 * again when a reader is restored to the start of a batch ({@code CursorPosition}), and when a
 * consumer connects anew to a broker that was restarted: it is then sent all that no checkpoint
 * acknowledged, and the job would count those readings twice.
 */
public class PulsarRecordEmitter<T>
        implements RecordEmitter<Message<byte[]>, T, PulsarPartitionSplitState> {

    private final PulsarDeserializationSchema<T> schema;

    public PulsarRecordEmitter(PulsarDeserializationSchema<T> schema) {
        this.schema = schema;
    }

    @Override
    public void emitRecord(
            Message<byte[]> message, SourceOutput<T> output, PulsarPartitionSplitState split)
            throws Exception {
        MessageId id = message.getMessageId();
        MessageId last = split.getLatestConsumedId();
        if (last == null || last.equals(MessageId.latest) || id.compareTo(last) > 0) {
            schema.deserialize(message, new Records<>(output, message.getEventTime()));
            split.setLatestConsumedId(id);
        }
        message.release();
    }

    private static final class Records<T> implements Collector<T> {
        private final SourceOutput<T> output;
        private final long eventTime;

        Records(SourceOutput<T> output, long eventTime) {
            this.output = output;
            this.eventTime = eventTime;
        }

        @Override
        public void collect(T record) {
            if (eventTime > 0) { // 0: the message has none
                output.collect(record, eventTime);
            } else {
                output.collect(record);
            }
        }

        @Override
        public void close() {}
    }
}
