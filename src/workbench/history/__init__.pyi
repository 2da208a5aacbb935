from .event_times import odd_times as odd_times
from .frames import open_archive as open_archive
from .frames import replay as replay
from .kafka_sql import query_kafka as query_kafka
from .kafka_topics import KafkaRecords as KafkaRecords
from .kafka_topics import read_records as read_records
from .kafka_values import schema_id as schema_id
