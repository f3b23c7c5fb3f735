"""How one picture becomes bytes. Free of zarr, so that a recorder starts quickly; ``zarr_jpeg`` tells zarr about it.

Colour is JPEG quality 90 by default: 50 kB, 1.2 ms and 44 dB for a real 640x480 picture (quality 95: 72 kB, 46 dB),
against 680 KiB for zstd, the lossless choice, which costs the same time. Chroma is halved (4:2:0) for large pictures
only: below 320x240 a small object is a few pixels wide and its colour would smear, and full chroma costs a kilobyte.

Depth is zstd level 1, always lossless. Measured on 640x480 with sensor noise and 40 % holes: zstd 68 KiB, 1.3 ms to
write, 0.6 ms to read; 16-bit lossless JPEG XL 46 KiB, 1.8 ms and 2.3 ms. JPEG XL saves a third, but depth is read far
more often than written, reading would be four times slower, and zstd is a standard Zarr codec that any reader knows.

Behind every picture stand four bytes: Zarr's own ``crc32c`` codec, so that a flipped byte is noticed by any reader.
Checking costs 0.01 ms for 65 kB. Takes written before that have no such bytes; their manifest does not promise them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.checksum import CHECKSUM_CODEC, add_checksum, checked
from storage.dense_codecs import dense_from_json, dense_to_json
from workbench.core.errors import CorruptTakeError
from workbench.core.types import StreamSpec

JPEG_NAME = "clap.jpeg"
_SMALL_PICTURE_PX = 320 * 240


class PictureCodec(Protocol):
    """Encodes and decodes one item of a stream of pictures."""

    @property
    def crc32c(self) -> bool:
        """True if every payload ends with its checksum."""

    def encode(self, picture: NDArray[Any]) -> bytes:
        """Compressed bytes of one C-contiguous picture."""

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Invert ``encode``; CorruptTakeError if the bytes are broken or of another shape."""

    def zarr_codecs(self) -> list[dict[str, Any]]:
        """The codec chain as Zarr v3 metadata."""


@dataclass(frozen=True, slots=True)
class JpegCodec:
    """Lossy colour, (H, W, 3) uint8."""

    quality: int = 95
    subsampling: str = "420"
    crc32c: bool = True

    def encode(self, picture: NDArray[Any]) -> bytes:
        payload = bytes(imagecodecs.jpeg8_encode(picture, level=self.quality, subsampling=self.subsampling))
        return add_checksum(payload) if self.crc32c else payload

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        out = np.empty(shape, dtype)
        try:
            imagecodecs.jpeg8_decode(checked(payload) if self.crc32c else payload, out=out)
        except (ValueError, RuntimeError) as error:
            raise CorruptTakeError(f"a picture cannot be decoded ({error})", _DOCTOR) from error
        return out

    def zarr_codecs(self) -> list[dict[str, Any]]:
        jpeg = {"name": JPEG_NAME, "configuration": {"quality": self.quality, "subsampling": self.subsampling}}
        return [jpeg, *_CHECKSUM[: self.crc32c]]


@dataclass(frozen=True, slots=True)
class ZstdCodec:
    """Lossless, any shape and dtype."""

    level: int = 1
    crc32c: bool = True

    def encode(self, picture: NDArray[Any]) -> bytes:
        payload = bytes(imagecodecs.zstd_encode(picture.tobytes(), level=self.level))
        return add_checksum(payload) if self.crc32c else payload

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        out = bytearray(size)
        try:
            written = imagecodecs.zstd_decode(checked(payload) if self.crc32c else payload, out=out)
        except (ValueError, RuntimeError) as error:
            raise CorruptTakeError(f"a picture cannot be decoded ({error})", _DOCTOR) from error
        if len(written) != size:
            raise CorruptTakeError(f"a picture has {len(written)} bytes instead of {size}", _DOCTOR)
        return np.frombuffer(out, dtype).reshape(shape)

    def zarr_codecs(self) -> list[dict[str, Any]]:
        zstd = {"name": "zstd", "configuration": {"level": self.level, "checksum": False}}
        return [RAW_CODEC, zstd, *_CHECKSUM[: self.crc32c]]


_DOCTOR = "Run `python main.py doctor`"
RAW_CODEC: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
_CHECKSUM = [CHECKSUM_CODEC]


def is_picture(spec: StreamSpec) -> bool:
    """True for streams stored as one compressed chunk per item; vectors are stored as plain columns."""
    return len(spec.shape) > 1


def is_photograph(spec: StreamSpec) -> bool:
    """True for what people look at: colour or grey pictures of a camera, not depth or masks."""
    is_image = spec.name.startswith("observation.images.") and spec.dtype == "uint8"
    return is_image and (len(spec.shape) == 2 or spec.shape[2:] == (3,))


def choose_codec(spec: StreamSpec, color_codec: str, jpeg_quality: int) -> PictureCodec:
    """The codec for a new stream of pictures; ``color_codec`` is ``jpeg`` or ``lossless``."""
    is_color = spec.dtype == "uint8" and len(spec.shape) == 3 and spec.shape[2] == 3
    if not is_color or color_codec == "lossless":
        return ZstdCodec()
    small = spec.shape[0] * spec.shape[1] < _SMALL_PICTURE_PX
    return JpegCodec(jpeg_quality, "444" if small else "420")


def codec_to_json(codec: PictureCodec) -> dict[str, Any]:
    """How the manifest names a codec; ``codec_from_json`` inverts it."""
    if isinstance(codec, JpegCodec):
        return {"name": "jpeg", "quality": codec.quality, "subsampling": codec.subsampling, "crc32c": codec.crc32c}
    if isinstance(codec, ZstdCodec):
        return {"name": "zstd", "level": codec.level, "crc32c": codec.crc32c}
    dense = dense_to_json(codec)
    if dense is None:
        raise TypeError(f"no manifest name for {type(codec).__name__}")
    return dense


def codec_from_json(value: dict[str, Any]) -> PictureCodec:
    """The codec a manifest names; CorruptTakeError for anything else."""
    crc32c = value.get("crc32c", False) is True
    if value.get("name") == "jpeg" and value.get("subsampling") in ("444", "422", "420"):
        return JpegCodec(int(value.get("quality", 95)), str(value["subsampling"]), crc32c)
    if value.get("name") == "zstd":
        return ZstdCodec(int(value.get("level", 1)), crc32c)
    dense = dense_from_json(value)
    if dense is not None:
        return dense
    raise CorruptTakeError(f"the picture codec {value!r} is not known", "It may come from a newer version")
