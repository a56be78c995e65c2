"""Reading `harakapy.toml`."""

import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from harakapy.config.explain import key_path
from harakapy.config.problem import ConfigError, Problem
from harakapy.config.schema import Location
from harakapy.config.settings import Settings

__all__ = ["changed_keys", "load", "load_place"]

_PLACE_KEYS: Final = ("state_dir", "send")
"""What says where a server is found."""


def load(
    path: Path,
    *,
    check_address: Callable[[str], object] | None = None,
    check_next_hop: Callable[[str], object] | None = None,
) -> Settings:
    """The settings that stand in the TOML file `path`.

    `check_address` is called with the address of each `[[listen]]`, `check_next_hop` with the URL of each
    next hop of `[outbound]`. They raise ValueError if it is not one; the text of that must read on behind a
    key, and show no password. Raises ConfigError with all problems: an unreadable file, a slip in the TOML
    (one only, its parser stops there), unknown keys, wrong values.
    """
    return Settings.of(_parsed(path), source=path, check_address=check_address, check_next_hop=check_next_hop)


def load_place(path: Path) -> Settings:
    """Settings that have `state_dir` and `[send]` from the TOML file `path`, and defaults for all the rest.

    So who may read the file, but not the secrets that it points to, finds the server. Raises PermissionError
    if the file may not be read, and ConfigError as `load` does.
    """
    with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):  # told below, as problems
        path.open("rb").close()
    values = _parsed(path)
    return Settings.of({key: values[key] for key in _PLACE_KEYS if key in values}, source=path)


def changed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys whose values differ, such as `smtp.max_errors`; for the log when settings were reloaded.

    Values that have no keys of their own, such as lists, are compared as a whole.
    """
    return tuple(key_path(place) for place in _differences(old, new, ()))


def _parsed(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text, as TOML must be: octet {error.start} does not fit"
    except tomllib.TOMLDecodeError as error:
        reason = f"is not TOML: {error}"
    raise ConfigError([Problem(str(path), "", reason)])


def _differences(old: object, new: object, at: Location) -> Iterator[Location]:
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        old, new = dict(old), dict(new)
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key), new.get(key), (*at, key))
    elif old != new:
        yield at
