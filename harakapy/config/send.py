"""The table `[send]`: how users of this machine hand over mail."""

from pathlib import Path

from pydantic import Field

from harakapy.config.sections import PlainPath, SocketMode
from harakapy.config.validate import Section

__all__ = ["SendSettings"]


class SendSettings(Section):
    """The `[send]` table: who of this machine may send with `harakapy send`, and where that goes."""

    socket: PlainPath = Field(
        Path("public/send"),
        description=(
            "The unix socket on which the server takes messages, and does nothing else, relative to "
            "`state_dir`. Users must be able to enter its folder; one that is not there is made, for all to "
            "enter. Who cannot read this file finds it as `/run/harakapy/send` or "
            "`/var/lib/harakapy/public/send` without being told."
        ),
        examples=["/run/harakapy/send"],
    )
    socket_mode: SocketMode = Field(
        "0666",
        description=(
            "Its mode: who may write to it may send. `0666` lets all users of this machine, as other mail "
            "servers do; `0660` those of `socket_group`; `0600` nobody but root and the server's own user."
        ),
        examples=["0660"],
    )
    socket_group: str = Field(
        "",
        description=(
            "The group that it belongs to, by name or number; the server's user must be in it. Unless given, "
            "that user's own."
        ),
        examples=["mail"],
    )
