"""Plain values from a file or a program, made into a model: every problem at once, or the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harakapy.config.explain import Finding, findings, ignored_keys, key_path
from harakapy.config.indirect import Indirection
from harakapy.config.problem import ConfigError, Problem
from harakapy.config.schema import Location

__all__ = ["Section", "part", "validated"]

M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """A table of settings: it does not change, and it knows all its keys. For plugins' models too."""

    # A section is a part of `Settings`, whose validator has one for each of its parts: a validator of its own
    # would be built at every start and used in tests only.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def part(description: str) -> Any:
    """The field of a section within another one: all its defaults, unless something of it is given.

    These are left to the validator of the whole: to make them here would take one of the section's own.
    """
    return Field(default_factory=dict, validate_default=True, description=description)


def validated(
    model: type[M],
    values: Mapping[str, Any],
    *,
    file: str = "",
    directory: Path = Path(),
    at: Location = (),
    context: Mapping[str, Any] | None = None,
) -> M:
    """The `values` as a `model`, references of the kind `{ env = "X" }` replaced.

    `file`, and `at`, the place of the values in it, are for messages; `directory` is where relative paths of
    references begin; `context` is handed to validators. Raises ConfigError with all problems.
    """
    indirection = Indirection(directory)
    data = indirection.resolved(dict(values), model)
    found = [Finding(place, message) for place, message in indirection.failures.items()]
    found += ignored_keys(model, data)
    try:
        result = model.model_validate(data, context=dict(context or {}))
    except ValidationError as error:
        found += findings(error, model, data)
    else:
        if not found:
            return result
    raise ConfigError(_problems(found, indirection, file, at))


def _problems(found: list[Finding], indirection: Indirection, file: str, at: Location) -> list[Problem]:
    """One problem for each place; where each type that a value may have refused it, what all of them say."""
    problems: dict[Location, Problem] = {}
    for place, message, given, nearest in found:
        if earlier := problems.get(place):
            if place not in indirection.failures and message not in earlier.message:
                problems[place] = replace(earlier, message=f"{earlier.message}, or {message}")
            continue
        if given:
            given = indirection.name_of(place, given)
        problems[place] = Problem(file, key_path((*at, *place)), message, given, nearest)
    return list(problems.values())
