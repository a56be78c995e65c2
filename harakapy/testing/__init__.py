"""For authors of plugins and for programs that embed a server: real dialogues without a network."""

from harakapy.testing.client import Client, connect
from harakapy.testing.dialogue import Dialogue, DialogueFailed, play
from harakapy.testing.dns import FakeDns

__all__ = ["Client", "Dialogue", "DialogueFailed", "FakeDns", "connect", "play"]
