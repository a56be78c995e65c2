"""Values that stand elsewhere: `{ env = "NAME" }` in the environment, `{ file = "path" }` in a file.

Meant for secrets, and for containers that are configured through their environment. Such a table may stand
wherever the model has no table of its own: `[log]` with nothing but `file` in it is a section, no reference.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harakapy.config.schema import Location, alternatives, fields_by_key, inside, models_in

__all__ = ["Indirection"]

VALUE_OCTETS = 65536
"""The longest file that may stand for a value. Picked: a chain of certificates fits, and an endless file (a
device, a log named by mistake) does no harm."""


class Indirection:
    """Puts in what `env` and `file` name, and remembers where each value came from.

    `directory` is where relative paths of files begin.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.origins: dict[Location, str] = {}
        """For each value put in, what to call it instead of showing it."""
        self.failures: dict[Location, str] = {}
        """For each value that is missing, what is wrong; None stands in its place."""

    def resolved(self, value: Any, kind_of_value: Any, at: Location = ()) -> Any:
        """`value`, which is to become of this type, with all references in it replaced.

        What stands under keys that a model does not know is left alone: it is an error, or of a model that is
        known later.
        """
        if isinstance(value, list):
            item = inside(kind_of_value, 0)
            return [self.resolved(entry, item, (*at, index)) for index, entry in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if is_reference(value) and not any(each.is_table for each in alternatives(kind_of_value)):
            return self._fetched(value, at)
        models = models_in(kind_of_value)
        known = {key for model in models for key in fields_by_key(model)}
        return {
            key: self.resolved(entry, inside(kind_of_value, key), (*at, key))
            if key in known or not models
            else entry
            for key, entry in value.items()
        }

    def name_of(self, place: Location, shown: str) -> str:
        """What to show for the value there: `shown`, unless it, or something in it, came from elsewhere."""
        if any(origin[: len(place)] == place for origin in self.origins if len(origin) > len(place)):
            return ""
        return self.origins.get(place, shown)

    def _fetched(self, reference: Mapping[str, str], at: Location) -> str | None:
        try:
            if "env" in reference:
                self.origins[at] = f"the environment variable {reference['env']}"
                return os.environ[reference["env"]]
            path = self._directory / Path(reference["file"]).expanduser()
            self.origins[at] = f"the content of {path}"
            return _content(path)
        except KeyError:
            self.failures[at] = f"needs {self.origins[at]}, which is not set"
        except OSError as error:
            self.failures[at] = f"needs {self.origins[at]}: {error.strerror}"
        except ValueError as error:
            self.failures[at] = f"needs {self.origins[at]}: {error}"
        return None


def is_reference(table: Mapping[str, object]) -> bool:
    """Whether this is `{ env = "..." }` or `{ file = "..." }` and nothing else."""
    return len(table) == 1 and (isinstance(table.get("env"), str) or isinstance(table.get("file"), str))


def _content(path: Path) -> str:
    """The text of a file without the line end that editors leave behind it."""
    with path.open("rb") as stream:
        octets = stream.read(VALUE_OCTETS + 1)
    if len(octets) > VALUE_OCTETS:
        raise ValueError(f"it is longer than {VALUE_OCTETS} octets")
    try:
        return octets.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
