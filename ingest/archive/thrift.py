"""Thrift's compact protocol, as far as the footer of a Parquet file needs it: read and written.

A struct is its fields by number, each with its type, so that what nobody here knows is written as
it was read. Raises ValueError for what is no such thing.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

_TRUE: Final = 1
_FALSE: Final = 2
_BYTE: Final = 3
_INTEGERS: Final = (4, 5, 6)
_DOUBLE: Final = 7
_BINARY: Final = 8
_LISTS: Final = (9, 10)
_STRUCT: Final = 12
_DEPTH_MAX: Final = 32
_LONG: Final = 15


class Field(NamedTuple):
    """The type of a field, and its value: a number, bytes, a List, or a struct."""

    type: int
    value: Any


class List(NamedTuple):
    """The type of the elements, and these."""

    type: int
    values: list[Any]


Struct = dict[int, Field]


class Reader:
    """Reads from bytes, one thing after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> Struct:
        """Return the struct that begins here."""
        if depth > _DEPTH_MAX:
            raise ValueError("too deep")
        fields: Struct = {}
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._zigzag()
            fields[number] = Field(kind, self._value(kind, depth, is_field=True))
        return fields

    def _value(self, kind: int, depth: int, *, is_field: bool = False) -> Any:  # noqa: ANN401
        if is_field and kind in (_TRUE, _FALSE):
            return kind == _TRUE  # the type says it
        match kind:
            case 1 | 2 | 3:
                found: Any = self._byte()
            case 4 | 5 | 6:
                found = self._zigzag()
            case 7:
                found = self._take(8)
            case 8:
                found = self._take(self._varint())
            case 9 | 10:
                found = self._list(depth)
            case 12:
                found = self.struct(depth + 1)
            case _:
                raise ValueError(f"a type {kind}")
        return found

    def _list(self, depth: int) -> List:
        head = self._byte()
        count, kind = head >> 4, head & 15
        count = self._varint() if count == _LONG else count
        return List(kind, [self._value(kind, depth + 1) for _ in range(count)])

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004 - the bit that says that more follows
                return value
            shift += 7

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise ValueError("it is cut short")
        taken, self.at = self._data[self.at : end], end
        return taken


def written(struct: Struct) -> bytes:
    """Return a struct as bytes."""
    out = bytearray()
    last = 0
    for number, (kind, value) in sorted(struct.items()):
        if 0 < number - last <= _LONG:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            out += _zigzag(number)
        if kind not in (_TRUE, _FALSE):
            out += _value(kind, value)
        last = number
    out.append(0)
    return bytes(out)


def _value(kind: int, value: Any) -> bytes:  # noqa: ANN401 - any
    return _WRITTEN[kind](value)


def _list(value: List) -> bytes:
    count = len(value.values)
    if count < _LONG:
        head = bytes((count << 4 | value.type,))
    else:
        head = bytes((_LONG << 4 | value.type,)) + _varint(count)
    return head + b"".join(_value(value.type, each) for each in value.values)


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:  # noqa: PLR2004 - seven bits at a time
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _one(value: int) -> bytes:
    return bytes((value,))


_WRITTEN: Final[dict[int, Callable[[Any], bytes]]] = {
    _TRUE: _one,
    _FALSE: _one,
    _BYTE: _one,
    **dict.fromkeys(_INTEGERS, _zigzag),
    _DOUBLE: bytes,
    _BINARY: lambda value: _varint(len(value)) + value,
    **dict.fromkeys(_LISTS, _list),
    _STRUCT: written,
}
