"""``harakapy queue``: look at what waits, and steer it."""

from harakapy.cli.queue.group import command

__all__ = ["command"]
