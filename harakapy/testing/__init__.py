"""For authors of plugins and for programs that embed a server: real dialogues without a network."""

from harakapy.testing.client import Client, connect
from harakapy.testing.dialogue import Dialogue, DialogueFailed, play

__all__ = ["Client", "Dialogue", "DialogueFailed", "connect", "play"]
