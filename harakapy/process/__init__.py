"""One server in one process: loading, running, signals, orderly stop."""

from harakapy.process.loading import LoadedPlugin, load_plugins
from harakapy.process.server import Server, StartRefused

__all__ = ["LoadedPlugin", "Server", "StartRefused", "load_plugins"]
