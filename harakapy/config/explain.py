"""pydantic's errors in the words of somebody who edits a TOML file."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from harakapy.config.schema import Location, alternatives, fields_by_key, inside, leaves, models_in
from harakapy.config.suggest import near_names

__all__ = ["Finding", "findings", "ignored_keys", "key_path", "shown", "unknown_key"]

SHOWN_CHARACTERS = 60
"""How much of a wrong value is repeated. Picked: enough to find it again."""

_MESSAGES = {
    "missing": "is required",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": 'must be text, in quotes: "..."',
    "path_type": 'must be a path, in quotes: "..."',
    "list_type": 'must be a list: ["...", "..."]',
    "tuple_type": 'must be a list: ["...", "..."]',
    "set_type": 'must be a list: ["...", "..."]',
    "frozen_set_type": 'must be a list: ["...", "..."]',
    "dict_type": "must be a table",
    "mapping_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}

_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be more than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
}


class Finding(NamedTuple):
    """One thing that is wrong, by its place in the data that was checked; the rest as in `Problem`."""

    place: Location
    message: str
    given: str = ""
    nearest: tuple[str, ...] = ()


def findings(error: ValidationError, model: type[BaseModel], data: object) -> Iterator[Finding]:
    """What `error` found in `data`, which was to become a `model`."""
    for detail in error.errors(include_url=False):
        place = _place(detail["loc"], data)
        if detail["type"] == "extra_forbidden":
            yield unknown_key(model, place)
            continue
        expected = _type_at(model, place)
        is_hidden = detail["type"] == "missing" or _may_be_secret(expected, _value_at(data, place))
        yield Finding(
            place,
            _message(detail, expected),
            "" if is_hidden else shown(_value_at(data, place)),
            near_names(str(detail["input"]), _options(expected)),
        )


def ignored_keys(model: type[BaseModel], data: object) -> Iterator[Finding]:
    """Keys that `model` would pass over in silence, as models do that say nothing about extra keys.

    In a file that people write such a key is a slip, whatever the author of the model thought of.
    """
    return _ignored_keys(model, model, data, ())


def unknown_key(model: type[BaseModel], place: Location) -> Finding:
    """The finding about a key that no field has, with those that may be meant."""
    *above, name = place
    owner = models_in(_type_at(model, tuple(above)))
    near = near_names(str(name), fields_by_key(owner[0])) if owner else ()
    if not near:  # the right key in the wrong table
        near = tuple(key_path(leaf) for leaf, _ in leaves(model) if leaf[-1] == name and leaf != place)[:3]
    return Finding(place, "is not a known key", nearest=near)


def key_path(place: Location) -> str:
    """A place as people write it: `smtp.max_errors`, `listen[0].address`, `plugin."a b".key`."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _is_bare(part) else json.dumps(part))
    return text


def shown(value: object) -> str:
    """A wrong value much as TOML writes it, on one line and not too long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


_is_bare = re.compile(r"[A-Za-z0-9_-]+").fullmatch


def _ignored_keys(root: type[BaseModel], expected: Any, data: object, at: Location) -> Iterator[Finding]:
    if isinstance(data, list):
        for index, item in enumerate(data):
            yield from _ignored_keys(root, inside(expected, index), item, (*at, index))
    elif isinstance(data, dict):
        models = models_in(expected)
        known = {key for model in models for key in fields_by_key(model)}
        is_silent = bool(models) and all(
            model.model_config.get("extra") in (None, "ignore") for model in models
        )
        for key, value in data.items():
            if is_silent and key not in known:
                yield unknown_key(root, (*at, key))
            else:
                yield from _ignored_keys(root, inside(expected, key), value, (*at, key))


def _message(detail: ErrorDetails, expected: Any) -> str:
    error, context = detail["type"], detail.get("ctx", {})
    if error in _BOUNDS:
        name, phrase = _BOUNDS[error]
        kind = next((each.kind for each in alternatives(expected) if each.kind), None)
        bound = kind.written(context[name]) if kind and context[name] else context[name]
        return f"{phrase} {bound:g}" if isinstance(bound, float) else f"{phrase} {bound}"
    if error == "value_error":
        return str(context["error"])
    if error == "literal_error":
        return f"must be one of {', '.join(json.dumps(option) for option in _options(expected))}"
    return _MESSAGES.get(error) or re.sub(r"^\w+ should ", "must ", detail["msg"])


def _options(expected: Any) -> list[str]:
    literals = [each.type for each in alternatives(expected) if get_origin(each.type) is Literal]
    return [str(option) for literal in literals for option in get_args(literal)]


def _may_be_secret(expected: Any, value: object) -> bool:
    """Whether showing `value` could show a secret: one of its own, or one of a whole table of settings."""
    if isinstance(value, dict) and models_in(expected):
        return True
    types = [each.type for each in alternatives(expected)]
    return any(
        bare in (SecretStr, SecretBytes) or any(_may_be_secret(inner, None) for inner in get_args(bare))
        for bare in types
        if get_origin(bare) is not Literal
    )


def _place(location: tuple[str | int, ...], data: object) -> Location:
    """The part of pydantic's location that is a place in the data; it also names members of unions."""
    place: list[str | int] = []
    for part in location:
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif isinstance(data, dict) and (part in data or part == location[-1]):
            data = data.get(part)
        else:
            continue
        place.append(part)
    return tuple(place)


def _value_at(data: Any, place: Location) -> object:
    """What stands there in the file; pydantic tells what its validators have made of that."""
    for part in place:
        data = data.get(part) if isinstance(data, dict) else data[part]
    return data


def _type_at(model: type[BaseModel], place: Location) -> Any:
    expected: Any = model
    for part in place:
        expected = inside(expected, part)
    return expected
