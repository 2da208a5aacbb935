from .data_source import PulsarArchive as PulsarArchive
from .scoring import alerts as alerts
from .scoring import score as score
from .training import sample as sample
