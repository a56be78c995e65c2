"""Finding one's way in the types of a model: what may stand where, and what it is called.

A type here is what stands in an annotation, such as `tuple[Network, ...] | None`; its alternatives are the
members of the union, each without its `Annotated`.
"""

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harakapy.config.quantity import Kind

__all__ = [
    "Alternative",
    "Location",
    "alternatives",
    "fields_by_key",
    "inside",
    "leaves",
    "models_in",
    "type_of",
]

Location = tuple[str | int, ...]
"""The place of a value: keys of tables and indices of lists, from the outside in."""


class Alternative(NamedTuple):
    """One of the types that a value may have, and what that type is called if it has a name of its own."""

    type: Any
    kind: Kind | None = None

    @property
    def is_table(self) -> bool:
        """Whether its values are written as tables."""
        bare = get_origin(self.type) or self.type
        return isinstance(bare, type) and issubclass(bare, BaseModel | Mapping)


def type_of(field: FieldInfo) -> Any:
    """The type of a field as its annotation had it; pydantic keeps its parts apart."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def alternatives(kind_of_value: Any) -> Iterator[Alternative]:
    """The types that a value of this type may have; None is left out, for TOML cannot write it."""
    origin = get_origin(kind_of_value)
    if origin is Annotated:
        inner, *metadata = get_args(kind_of_value)
        name = next((mark for mark in metadata if isinstance(mark, Kind)), None)
        for alternative in alternatives(inner):
            yield alternative._replace(kind=alternative.kind or name)
    elif origin in (Union, UnionType):
        for member in get_args(kind_of_value):
            yield from alternatives(member)
    elif kind_of_value is not NoneType:
        yield Alternative(kind_of_value)


def models_in(kind_of_value: Any) -> list[type[BaseModel]]:
    """The models among the alternatives."""
    found = [alternative.type for alternative in alternatives(kind_of_value)]
    return [bare for bare in found if isinstance(bare, type) and issubclass(bare, BaseModel)]


def fields_by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that the file has for them: their alias, else their name."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def inside(kind_of_value: Any, part: str | int) -> Any:
    """The type of what stands under a key or index in a value of this type; Any if nothing is known."""
    for alternative in alternatives(kind_of_value):
        bare, arguments = alternative.type, get_args(alternative.type)
        if isinstance(part, int) and arguments:
            return arguments[0]  # lists and tuples of one type; a file has no use for others
        if isinstance(part, str) and isinstance(bare, type) and issubclass(bare, BaseModel):
            if field := fields_by_key(bare).get(part):
                return type_of(field)
        elif isinstance(part, str) and alternative.is_table and len(arguments) == 2:
            return arguments[1]
    return Any


def leaves(model: type[BaseModel], at: Location = ()) -> Iterator[tuple[Location, FieldInfo]]:
    """Every field that is not itself a table of fields, with its place."""
    for key, field in fields_by_key(model).items():
        inner = models_in(type_of(field))
        if inner:
            yield from leaves(inner[0], (*at, key))
        else:
            yield (*at, key), field
