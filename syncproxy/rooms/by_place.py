"""Values that are not looked at are kept as bytes: their fields by place, without names."""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

_encode = msgspec.msgpack.Encoder().encode
_V = TypeVar("_V", bound=msgspec.Struct)


class ByPlace(Generic[_V]):
    """Packs the fields of a `kind` of value, of which those `apart` are left out; behind others, of these types."""

    def __init__(self, kind: type[_V], apart: Collection[str], others: tuple[Any, ...] = ()) -> None:
        types = get_type_hints(kind)
        #: the fields that are packed, in order
        self.names = [name for name in kind.__struct_fields__ if name not in apart]
        self._fields: Any = attrgetter(*self.names)
        whole = tuple.__class_getitem__((*others, *(types[name] for name in self.names)))
        self._decode = msgspec.msgpack.Decoder[Any](whole).decode

    def packed(self, value: _V, *others: Any) -> bytes:
        """The others and the value's fields."""
        return _encode((*others, *self._fields(value)))

    def unpacked(self, packed: bytes) -> tuple[Any, ...]:
        """The others and the fields that were packed."""
        fields: tuple[Any, ...] = self._decode(packed)
        return fields
