package org.apache.flink.connector.pulsar.source.reader;

import java.io.IOException;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.base.source.reader.fetcher.SplitFetcher;
import org.apache.flink.connector.base.source.reader.fetcher.SplitFetcherManager;
import org.apache.flink.connector.base.source.reader.fetcher.SplitFetcherTask;
import org.apache.flink.connector.base.source.reader.splitreader.SplitReader;
import org.apache.flink.connector.base.source.reader.synchronization.FutureCompletingBlockingQueue;
import org.apache.flink.connector.pulsar.source.enumerator.topic.TopicPartition;
import org.apache.flink.connector.pulsar.source.split.PulsarPartitionSplit;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;

/**
 * Gives each partition a thread that reads it, and acknowledges in that thread.
 *
 * <p>In place of the connector's class of this name, which acknowledges in the task's thread: a
 * checkpoint that completes while a restored partition is still being positioned then makes a
 * second consumer of it, which the broker refuses, and the job fails (FLINK-38600).
 */
public class PulsarSourceFetcherManager
        extends SplitFetcherManager<Message<byte[]>, PulsarPartitionSplit> {

    private final Map<String, SplitFetcher<Message<byte[]>, PulsarPartitionSplit>> fetchersOfSplits =
            new HashMap<>();

    public PulsarSourceFetcherManager(
            FutureCompletingBlockingQueue<RecordsWithSplitIds<Message<byte[]>>> elements,
            Supplier<SplitReader<Message<byte[]>, PulsarPartitionSplit>> reader,
            Configuration configuration) {
        super(elements, reader, configuration);
    }

    @Override
    public void addSplits(List<PulsarPartitionSplit> splits) {
        for (PulsarPartitionSplit split : splits) {
            fetcher(split.splitId()).addSplits(Collections.singletonList(split));
        }
    }

    @Override
    public void removeSplits(List<PulsarPartitionSplit> splits) {
        for (PulsarPartitionSplit split : splits) {
            fetcher(split.splitId()).removeSplits(Collections.singletonList(split));
        }
    }

    /** End the thread of a partition that is read to its end. */
    public void closeFetcher(String splitId) {
        SplitFetcher<Message<byte[]>, PulsarPartitionSplit> fetcher =
                fetchersOfSplits.remove(splitId);
        if (fetcher != null) {
            fetcher.shutdown();
        }
    }

    /** Let the broker know that these messages, and those before them, are in a checkpoint. */
    public void acknowledgeMessages(Map<TopicPartition, MessageId> last) {
        last.forEach(
                (partition, id) -> {
                    SplitFetcher<Message<byte[]>, PulsarPartitionSplit> fetcher =
                            fetcher(partition.toString());
                    fetcher.enqueueTask(
                            new Acknowledgement(
                                    (PulsarPartitionSplitReader) fetcher.getSplitReader(),
                                    partition,
                                    id));
                });
    }

    private SplitFetcher<Message<byte[]>, PulsarPartitionSplit> fetcher(String splitId) {
        fetchersOfSplits.values().retainAll(fetchers.values()); // one that was idle may be gone
        return fetchersOfSplits.computeIfAbsent(
                splitId,
                id -> {
                    SplitFetcher<Message<byte[]>, PulsarPartitionSplit> made = createSplitFetcher();
                    startFetcher(made);
                    return made;
                });
    }

    private static final class Acknowledgement implements SplitFetcherTask {
        private final PulsarPartitionSplitReader reader;
        private final TopicPartition partition;
        private final MessageId last;

        Acknowledgement(PulsarPartitionSplitReader reader, TopicPartition partition, MessageId last) {
            this.reader = reader;
            this.partition = partition;
            this.last = last;
        }

        @Override
        public boolean run() throws IOException {
            reader.notifyCheckpointComplete(partition, last);
            return true;
        }

        @Override
        public void wakeUp() {}
    }
}
