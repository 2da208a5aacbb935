from .limits import Limits as Limits
from .live import Live as Live
from .server import Server as Server
