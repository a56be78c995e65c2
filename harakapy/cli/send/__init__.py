"""``harakapy send``: what programs call as /usr/sbin/sendmail."""

from harakapy.cli.send.command import command

__all__ = ["command"]
