"""The settings of a server: everything that stands in `harakapy.toml`."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from msgspec import Struct
from pydantic import AfterValidator, BaseModel, Field, PrivateAttr

from harakapy.config.explain import key_path
from harakapy.config.outbound import OutboundSettings, QueueSettings
from harakapy.config.place import ConfigPath, HostName, local_host_name, user_state_directory
from harakapy.config.problem import ConfigError, Problem
from harakapy.config.quantity import Count
from harakapy.config.sections import (
    DnsSettings,
    ListenSettings,
    LogSettings,
    PluginSection,
    SmtpSettings,
    TlsSettings,
)
from harakapy.config.send import SendSettings
from harakapy.config.validate import Section, part, validated

__all__ = ["PluginTable", "Settings", "validate_plugin"]

M = TypeVar("M", bound=BaseModel)


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"must name each only once; {', '.join(repeated)} is there again")
    return names


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], AfterValidator(_each_once)]

MAX_WORKERS = 256  # picked: a slip such as 2525 must not start as many processes
Workers = Annotated[Count, Field(ge=1, le=MAX_WORKERS)] | Literal["cpus"]


class Settings(Section):
    """Everything in `harakapy.toml`. Immutable: a reload makes new ones."""

    hostname: HostName = Field(
        default_factory=local_host_name,
        description=(
            "The name of this server, for greeting, EHLO and trace fields: the name to which its address "
            "points back in the DNS. Unless given, what the machine calls itself."
        ),
        examples=["mail.example.com"],
        json_schema_extra={"default": "the name of this machine"},
    )
    state_dir: ConfigPath = Field(
        Path("state"),
        description=(
            "The folder for all that the server writes: queue, spooled messages, mailboxes. Relative to "
            "this file."
        ),
    )
    workers: Workers = Field(
        1,
        description=(
            "How many processes receive mail; `cpus` for one on each core. With one, all is done in a single "
            "process, which is simple and enough for most. With more, another one delivers, and one more "
            "supervises them."
        ),
        examples=["cpus"],
    )
    reuseport: bool = Field(
        False,
        description=(
            "Give each worker a socket of its own for each TCP address, among which the kernel spreads "
            "clients evenly (SO_REUSEPORT). Unless set, whichever worker has time accepts, which keeps them "
            "busy alike; and a second server of the same user on the same port is noticed."
        ),
    )
    user: str = Field(
        "",
        description=(
            "Whom to run as, by name or number, once the sockets are bound; for a server that is started by "
            "root. Service managers can do this, too, and then it stays empty."
        ),
        examples=["harakapy"],
    )
    group: str = Field(
        "",
        description="The group to run as, with `user`. Unless given, that user's own, and all he is in.",
        examples=["mail"],
    )
    plugins: Names = Field(
        (),
        description=(
            "The plugins to load, by name, by `path/to/file.py` or by `package.module:Object`. Their order "
            "here is the order in which they are asked. What is installed and not listed is not loaded."
        ),
        examples=[["rcpt_to_in_host_list", "queue_maildir"]],
    )
    listen: tuple[ListenSettings, ...] = Field(
        ({"address": "127.0.0.1:2525"},),
        validate_default=True,
        description=(
            "The addresses on which the server accepts connections. The default is reached from this "
            "machine only and needs no privileges."
        ),
    )
    tls: TlsSettings = part("Our certificates, and what TLS we speak.")
    smtp: SmtpSettings = part("Limits and timeouts of receiving mail.")
    dns: DnsSettings = part("How names are looked up.")
    queue: QueueSettings = part("Where accepted mail is kept until it is delivered.")
    outbound: OutboundSettings = part("How accepted mail is delivered.")
    send: SendSettings = part("How users of this machine hand over mail: `harakapy send`.")
    log: LogSettings = part("What is logged, and how.")
    plugin: dict[str, PluginSection] = Field(
        default_factory=dict, description="A table for each plugin that has settings; its manual tells which."
    )

    _source: Path | None = PrivateAttr(None)
    _directory: Path = PrivateAttr(Path())

    @classmethod
    def default(cls, **values: Any) -> Self:
        """The settings of a server without a file: what is given here as in TOML, the defaults for the rest.

        The state is then kept in the user's state folder (XDG Base Directory Specification). Raises
        ConfigError.
        """
        values.setdefault("state_dir", str(user_state_directory()))
        return cls.of(values)

    @classmethod
    def of(
        cls,
        values: Mapping[str, Any],
        *,
        source: Path | None = None,
        check_address: Callable[[str], object] | None = None,
        check_next_hop: Callable[[str], object] | None = None,
    ) -> Self:
        """The settings that `values`, as read from the file `source`, stand for.

        For the two checks see `load`. Raises ConfigError.
        """
        directory = source.parent.absolute() if source else Path.cwd()
        settings = validated(
            cls,
            values,
            file=str(source or ""),
            directory=directory,
            context={
                "directory": directory,
                "check_address": check_address,
                "check_next_hop": check_next_hop,
            },
        )
        settings._source, settings._directory = source, directory
        return settings

    @property
    def source(self) -> Path | None:
        """The file that was read; None if there was none."""
        return self._source

    @property
    def file(self) -> str:
        """The name of that file for messages; "" if there was none."""
        return str(self._source or "")

    @property
    def directory(self) -> Path:
        """Where relative paths of what people write begin: beside the file, if there is one."""
        return self._directory

    @property
    def spool_dir(self) -> Path:
        """Where messages are that are too large for memory while they are received."""
        return self.state_dir / self.smtp.spool_dir.expanduser()

    @property
    def queue_dir(self) -> Path:
        """Where accepted mail is until it is delivered."""
        return self.state_dir / self.queue.directory.expanduser()

    @property
    def send_socket(self) -> Path:
        """Where users of this machine hand over mail."""
        return self.state_dir / self.send.socket.expanduser()

    @property
    def worker_count(self) -> int:
        """How many processes receive mail."""
        return usable_cores() if self.workers == "cpus" else self.workers

    @property
    def log_file(self) -> Path | None:
        """The file to log to; None for standard error."""
        return self.state_dir / self.log.file.expanduser() if self.log.file else None

    def plugin_table(self, name: str) -> "PluginTable":
        """The table of a plugin, with nothing in it if the file has none."""
        section = self.plugin.get(name) or PluginSection()
        return PluginTable(name, section.hook_timeout, section.on_error, section.values, self)


def usable_cores() -> int:
    """How many cores this process may use: a container or taskset may leave it fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class PluginTable(Struct, frozen=True):
    """What the operator set for one plugin."""

    name: str
    hook_timeout: float | None
    """Seconds for one hook; None for the setting that all have in common, 0 for no limit."""
    on_error: Literal["tempfail", "continue"]
    values: Mapping[str, Any]
    """The plugin's own keys as they stand in the file."""
    settings: Settings

    def validate(self, model: type[M]) -> M:
        """The values as the plugin's own `model`. Raises ConfigError, see `validate_plugin`."""
        return validate_plugin(
            self.name,
            self.values,
            model,
            file=self.settings.file,
            directory=self.settings.directory,
            state_dir=self.settings.state_dir,
        )

    def refuse_settings(self, reason: str) -> None:
        """Raises ConfigError with `reason` for every key of the plugin's own, if there are any."""
        if self.values:
            raise ConfigError(
                Problem(self.settings.file, key_path(("plugin", self.name, key)), reason)
                for key in self.values
            )


def validate_plugin(
    name: str,
    table: Mapping[str, Any],
    model: type[M],
    *,
    file: str = "",
    directory: Path | None = None,
    state_dir: Path = Path(),
) -> M:
    """The `table` of the plugin `name` as its `model`, references replaced, relative paths put in place.

    Keys that the model does not know are errors, unless it allows extra ones. Raises ConfigError with all
    problems, whose keys begin with `plugin.NAME`.
    """
    directory = directory or Path.cwd()
    return validated(
        model,
        table,
        file=file,
        directory=directory,
        at=("plugin", name),
        context={"directory": directory, "state_dir": state_dir},
    )
