"""What is wrong with a configuration: each problem with its place, and all of them in one error."""

from collections.abc import Iterable

from msgspec import Struct

from harakapy.config.suggest import did_you_mean

__all__ = ["ConfigError", "Problem"]


class Problem(Struct, frozen=True):
    """One thing to mend. As text: `harakapy.toml: smtp.max_recipients: must be at least 100 (got 5)`."""

    file: str
    """The file as its path was given; "" for settings that were made by a program."""
    key: str
    """The path of the key, `smtp.max_recipients` or `listen[0].address`; "" for the file as a whole."""
    message: str
    """What is wrong and what is allowed: a phrase that goes on behind the key."""
    given: str = ""
    """What stands there, as TOML writes it, shortened; "" if nothing does, or if it must not be shown."""
    nearest: tuple[str, ...] = ()
    """For an unknown name: the known ones that may be meant, the nearest first."""

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.file, self.key, self.message) if part)
        if self.given:
            text += f" (got {self.given})"
        if self.nearest:
            text += f"; {did_you_mean(self.nearest)}"
        return text


class ConfigError(Exception):
    """The configuration cannot be used; `problems` are all the reasons, in the order of the settings.

    As text, one problem a line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
