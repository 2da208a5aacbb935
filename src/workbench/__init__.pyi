from . import alerts as alerts
from . import archive as archive
from . import desk as desk
from . import detectors as detectors
from . import evaluation as evaluation
from . import figures as figures
from . import history as history
from . import plant as plant
from . import runs as runs
from . import services as services
from . import stream as stream
from .history import replay as replay
from .services import ingest as ingest

__version__: str

def load_ipython_extension(ipython: object) -> None: ...
