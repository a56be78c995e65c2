"""The manual of the settings, made from the models: a reference in Markdown and a commented example file."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harakapy.config.explain import key_path
from harakapy.config.schema import (
    Alternative,
    Location,
    alternatives,
    fields_by_key,
    inside,
    models_in,
    type_of,
)
from harakapy.config.settings import Settings

__all__ = ["example_toml", "reference_markdown", "toml_value"]

COMMENT_CHARACTERS = 100
"""Where the example wraps its comments. Picked."""

EXAMPLE_HEAD = (
    "The settings of harakapy. Each line `#key = value` shows a default: take the # away to change it. Lines "
    "`# key = value` show what else could stand there."
)

_PLAIN_TYPES = {bool: "true or false", str: "text", int: "whole number", float: "number"}

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "max_length": "up to"}

_is_bare = re.compile(r"[A-Za-z0-9_-]+").fullmatch

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def reference_markdown(model: type[BaseModel] = Settings) -> str:
    """Every key of the configuration with type, default and description; a part for each table of TOML.

    Also for the model of a plugin.
    """
    return "\n\n".join(_parts(model, ())) + "\n"


def example_toml(values: Mapping[str, Any] = _NOTHING) -> str:
    """A `harakapy.toml` in which every key stands, commented out, with its description and its default.

    A line `#key = value` shows a default, and making it active changes nothing; `# key = value` shows what
    else could stand there. `values`, as read from TOML, are put in as active lines.
    Raises ConfigError if they are no settings.
    """
    Settings.of(values)
    lines = [*_comment(EXAMPLE_HEAD), "", *_table_lines(Settings, (), values)]
    return "\n".join(lines).rstrip("\n") + "\n"


def toml_value(value: object) -> str:
    """A value as TOML writes it on one line; what TOML has no type for, as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        entries = (f"{_toml_key(key)} = {toml_value(entry)}" for key, entry in value.items())
        return f"{{ {', '.join(entries)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return _toml_string(str(value))


class _Table(NamedTuple):
    """A field that is a table of TOML, or a list or mapping of tables."""

    model: type[BaseModel]
    header: str
    is_list: bool = False
    is_named: bool = False


def _table_in(key: str, field: FieldInfo, at: Location) -> _Table | None:
    kind_of_value, path = type_of(field), key_path((*at, key))
    if models := models_in(kind_of_value):
        return _Table(models[0], f"[{path}]")
    if models := models_in(inside(kind_of_value, 0)):
        return _Table(models[0], f"[[{path}]]", is_list=True)
    if models := models_in(inside(kind_of_value, "NAME")):
        return _Table(models[0], f"[{path}.NAME]", is_named=True)
    return None


def _split(
    model: type[BaseModel], at: Location
) -> tuple[list[tuple[str, FieldInfo]], list[tuple[str, FieldInfo, _Table]]]:
    """The fields of a model that are single values, and those that are tables; TOML wants this order."""
    values, tables = [], []
    for key, field in fields_by_key(model).items():
        if table := _table_in(key, field, at):
            tables.append((key, field, table))
        else:
            values.append((key, field))
    return values, tables


def _parts(model: type[BaseModel], at: Location) -> Iterator[str]:
    values, tables = _split(model, at)
    if values:
        rows = [
            f"| `{key}` | {_type_text(field)} | {_default_text(field)} | {_cell(field.description or '')} |"
            for key, field in values
        ]
        yield "\n".join(["| Key | Type | Default | Meaning |", "|---|---|---|---|", *rows])
    for key, field, table in tables:
        yield f"## `{table.header}`\n\n{field.description or ''}".rstrip()
        yield from _parts(table.model, (*at, key))


def _type_text(field: FieldInfo) -> str:
    text = _names_of(type_of(field))
    for mark in field.metadata:
        for name, phrase in _BOUNDS.items():
            if (bound := getattr(mark, name, None)) is not None:
                unit = " characters" if name == "max_length" else ""
                text += f", {phrase} {_written(bound, field)}{unit}"
    return _cell(text)


def _names_of(kind_of_value: Any) -> str:
    return " or ".join(dict.fromkeys(_name_of(each) for each in alternatives(kind_of_value)))


def _name_of(alternative: Alternative) -> str:
    bare = alternative.type
    if alternative.kind:
        return alternative.kind.name
    if get_origin(bare) is Literal:
        return " or ".join(f"`{toml_value(option)}`" for option in get_args(bare))
    if get_origin(bare) in (tuple, list, set, frozenset):
        return f"list of {_names_of(inside(bare, 0))}"
    return _PLAIN_TYPES.get(bare, getattr(bare, "__name__", "value"))


def _default_text(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict) and "default" in field.json_schema_extra:
        return str(field.json_schema_extra["default"])
    if field.is_required():
        return "required"
    default = _default(field)
    return "none" if default is None else f"`{_cell(toml_value(_written(default, field)))}`"


def _written(value: Any, field: FieldInfo) -> Any:
    """A value of a field in the form that people write, such as "5m" for 300 seconds."""
    return _as_written(value, type_of(field))


def _as_written(value: Any, kind_of_value: Any) -> Any:
    kind = next((each.kind for each in alternatives(kind_of_value) if each.kind), None)
    if kind:
        return kind.written(value) if value != 0 else value
    if isinstance(value, tuple | list):
        return [_as_written(item, inside(kind_of_value, 0)) for item in value]
    return value


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table_lines(
    model: type[BaseModel],
    at: Location,
    given: Mapping[str, Any],
    entry: BaseModel | None = None,
    *,
    is_in_list: bool = False,
) -> Iterator[str]:
    """The lines of a table below its header: what is given, else what `entry` or the model has by default.

    Within an entry of a list an active header would add an empty table to what was given, and below a header
    that is commented out it would be that of another table.
    """
    values, tables = _split(model, at)
    for key, field in values:
        default = getattr(entry, key) if entry else _default(field)
        yield from _comment(field.description)
        yield from _value_lines(key, field, given, default)
        yield ""
    for key, field, table in tables:
        yield from _comment(field.description)
        if table.is_named:
            yield from _named_lines(table, given.get(key, {}))
        elif table.is_list:
            yield from _list_lines(table, (*at, key), given.get(key, ()), _default(field) or ())
        else:
            yield from (f"#{table.header}" if is_in_list and key not in given else table.header, "")
            default = getattr(entry, key) if entry else None
            yield from _table_lines(
                table.model, (*at, key), given.get(key, {}), default, is_in_list=is_in_list
            )


def _value_lines(key: str, field: FieldInfo, given: Mapping[str, Any], default: object) -> Iterator[str]:
    if key in given:
        yield f"{_toml_key(key)} = {toml_value(given[key])}"
        return
    if default is not None:
        yield f"#{_toml_key(key)} = {toml_value(_written(default, field))}"
    for example in field.examples or ():
        yield f"# {_toml_key(key)} = {toml_value(example)}"


def _list_lines(
    table: _Table, at: Location, given: Sequence[Mapping[str, Any]], default: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    for values in given:
        yield table.header
        yield from _table_lines(table.model, at, values, is_in_list=True)
    for entry in map(table.model.model_validate, default if not given else ()):
        yield f"#{table.header}"
        yield from _table_lines(table.model, at, {}, entry, is_in_list=True)
    if not given and not default:
        yield from _sample_lines(table)


def _named_lines(table: _Table, given: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from _sample_lines(table)
    for name, values in given.items():
        yield table.header.replace("NAME", _toml_key(name))
        yield from (f"{_toml_key(key)} = {toml_value(value)}" for key, value in values.items())
        yield ""


def _sample_lines(table: _Table) -> Iterator[str]:
    """A table that nobody has by default, as it could stand there."""
    yield f"# {table.header}"
    for key, field in fields_by_key(table.model).items():
        shown = field.examples[0] if field.examples else _written(_default(field), field)
        yield from _comment(field.description)
        yield f"# {_toml_key(key)} = {toml_value('...' if shown is None else shown)}"
    yield ""


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _comment(text: str | None) -> list[str]:
    return textwrap.wrap(
        text or "",
        COMMENT_CHARACTERS,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _toml_key(key: str) -> str:
    return key if _is_bare(key) else _toml_string(key)


def _toml_string(text: str) -> str:
    # TOML's basic strings are JSON's, but for surrogate pairs, which are not made here, and for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
