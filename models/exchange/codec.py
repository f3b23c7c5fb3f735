"""The wire format of policy servers: msgpack with NumPy arrays as plain maps. Nothing in it can run code.

An array is a map with the keys ``__ndarray__`` (true), ``data`` (its bytes, C order), ``dtype`` (NumPy's short name,
such as ``<f4``) and ``shape``; a NumPy number has ``__npgeneric__``, ``data`` and ``dtype``. The keys are byte strings.
That is what the clients and servers of openpi and its relatives send. What comes from the network is checked before it
is believed: only numbers and truth values, sizes that fit, a bounded count of items.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.core.errors import WorkbenchError

_msgpack: Any = importlib.import_module("msgpack")  # has no type descriptions
MOST_BYTES = 16 * 2**20
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
_AXES = 6
_LEVELS = 16
_ARRAY, _NUMBER, _DATA, _KIND, _SHAPE = b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"


class WireError(WorkbenchError):
    """Bytes that are no message of this format, or a value that cannot be sent in it."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What a message may hold: bytes in all, values in all (an array counts as one), bytes of one text."""

    bytes: int = MOST_BYTES
    items: int = 4096
    text_bytes: int = 65_536


def pack(value: object) -> bytes:
    """One message. Raises WireError for what the format does not have: objects, complex numbers, records."""
    try:
        packed: bytes = _msgpack.packb(value, default=_plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"this cannot be sent to a policy server ({error})") from error
    return packed


def unpack(data: bytes, limits: WireLimits = WireLimits()) -> Any:
    """Invert ``pack``; arrays come back in this machine's byte order and may be read-only.

    Raises WireError for anything else than one whole message within the limits.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise WireError("a message of text came where bytes were expected")
    if len(data) > limits.bytes:
        raise WireError(f"the message has {len(data)} bytes, more than {limits.bytes}")
    counter = _Counter(limits.items)
    try:
        value = _msgpack.unpackb(
            data,
            object_pairs_hook=counter.mapping,
            list_hook=counter.items,
            ext_hook=_no_extension,
            max_str_len=limits.text_bytes,
            max_bin_len=limits.bytes,
            max_array_len=limits.items,
            max_map_len=limits.items,
            max_ext_len=0,
        )
    except WireError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, _msgpack.UnpackException) as error:
        raise WireError(f"the message is not in the policy servers' format ({error})") from error
    _check_levels(value, _LEVELS)
    return value


class _Counter:
    """Builds maps and lists of one message and counts what they hold, so that few bytes cannot become much memory."""

    def __init__(self, most: int) -> None:
        self._left = most

    def _take(self, count: int) -> None:
        self._left -= count + 1
        if self._left < 0:
            raise WireError("the message holds too many values")

    def items(self, values: list[Any]) -> list[Any]:
        self._take(len(values))
        return values

    def mapping(self, pairs: list[tuple[Any, Any]]) -> Any:
        self._take(len(pairs))
        value = {_key(key): item for key, item in pairs}
        if len(value) != len(pairs):
            raise WireError("the message names a key twice")
        if _ARRAY.decode() in value:
            return _array(value)
        return _number(value) if _NUMBER.decode() in value else value


def _key(key: object) -> str:
    if isinstance(key, bytes):
        key = key.decode("utf-8", "strict")
    if not isinstance(key, str):
        raise WireError("the message has a key that is not a text")
    return key


def _plain(value: object) -> object:
    """What msgpack itself does not know."""
    if isinstance(value, np.ndarray | np.generic):
        if not _DTYPE.fullmatch(value.dtype.str):
            raise WireError(f"arrays of {value.dtype} cannot be sent to a policy server")
        if isinstance(value, np.generic):
            return {_NUMBER: True, _DATA: value.item(), _KIND: value.dtype.str}
        return {_ARRAY: True, _DATA: value.tobytes(), _KIND: value.dtype.str, _SHAPE: value.shape}
    if isinstance(value, Mapping):
        return dict(value)
    raise WireError(f"a {type(value).__name__} cannot be sent to a policy server")


def _kind(value: Mapping[str, Any]) -> np.dtype[Any]:
    name = value.get(_KIND.decode())
    text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise WireError("an array in the message is not of numbers")
    return np.dtype(text)


def _array(value: Mapping[str, Any]) -> Any:
    kind, data, shape = _kind(value), value.get(_DATA.decode()), value.get(_SHAPE.decode())
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > _AXES:
        raise WireError("an array in the message lacks its data or its shape")
    if not all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= 2**31 for size in shape):
        raise WireError("an array in the message has a shape that is none")
    if math.prod(shape) * kind.itemsize != len(data):
        raise WireError(f"an array in the message has {len(data)} bytes, which are not a {kind} of shape {shape}")
    array = np.frombuffer(data, dtype=kind).reshape(shape)
    return array if kind.isnative else array.astype(kind.newbyteorder("="))


def _number(value: Mapping[str, Any]) -> Any:
    kind, number = _kind(value), value.get(_DATA.decode())
    if not isinstance(number, bool | int | float):
        raise WireError("a number in the message is none")
    try:
        return kind.newbyteorder("=").type(number)
    except (OverflowError, ValueError) as error:
        raise WireError(f"a number in the message does not fit its kind ({error})") from error


def _no_extension(code: int, _data: bytes) -> object:
    raise WireError(f"the message has an extension of kind {code}")


def _check_levels(value: object, left: int) -> None:
    """Refuse what is nested deeper than any honest message."""
    if left < 0:
        raise WireError("the message is nested too deeply")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _check_levels(item, left - 1)
