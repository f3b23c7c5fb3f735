"""Four bytes behind a picture, as Zarr's ``crc32c`` codec writes them, so that any reader notices a flipped byte."""

from __future__ import annotations

from typing import Any

import google_crc32c

from workbench.core.errors import CorruptTakeError

CHECKSUM_CODEC: dict[str, Any] = {"name": "crc32c"}
_CHECKSUM_BYTES = 4


def add_checksum(payload: bytes) -> bytes:
    """The payload and its crc32c, little-endian."""
    return payload + int(google_crc32c.value(payload)).to_bytes(_CHECKSUM_BYTES, "little")


def is_whole(payload: bytes) -> bool:
    """True if a payload with a checksum is the one that was written."""
    body, tail = payload[:-_CHECKSUM_BYTES], payload[-_CHECKSUM_BYTES:]
    return len(payload) > _CHECKSUM_BYTES and google_crc32c.value(body) == int.from_bytes(tail, "little")


def checked(payload: bytes) -> bytes:
    """The payload without its checksum; CorruptTakeError if they disagree."""
    if not is_whole(payload):
        raise CorruptTakeError("its bytes do not match their checksum", "Run `python main.py doctor`")
    return payload[:-_CHECKSUM_BYTES]
