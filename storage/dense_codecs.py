"""How an archived take stores its pictures: colour as short pieces of H.264, depth as lossless JPEG XL.

Both are slower to write and to read than what recording uses (``codecs``) and several times smaller; the figures that
chose them are in ``docs/decisions/0011-archive-and-depth-codec.md``. Every payload ends with its crc32c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.checksum import CHECKSUM_CODEC, add_checksum, checked
from storage.video_bytes import LONGEST, Piece, encode_video
from workbench.core.errors import CorruptTakeError

VIDEO_NAME, JXL_NAME = "clap.video", "clap.jxl"
_DOCTOR = "Run `python main.py doctor`"


@dataclass(frozen=True, slots=True)
class JxlCodec:
    """Lossless, (H, W) uint8 or uint16."""

    effort: int = 2
    crc32c: bool = True

    def encode(self, picture: NDArray[Any]) -> bytes:
        return add_checksum(bytes(imagecodecs.jpegxl_encode(picture, lossless=True, effort=self.effort, numthreads=1)))

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        try:
            picture: NDArray[Any] = imagecodecs.jpegxl_decode(checked(payload), numthreads=1)
        except (ValueError, RuntimeError) as error:
            raise CorruptTakeError(f"a picture cannot be decoded ({error})", _DOCTOR) from error
        if picture.dtype != dtype or picture.size != np.prod(shape):
            raise CorruptTakeError(f"a picture is {picture.dtype}{list(picture.shape)} instead of {dtype}", _DOCTOR)
        return picture.reshape(shape)

    def zarr_codecs(self) -> list[dict[str, Any]]:
        return [{"name": JXL_NAME, "configuration": {"effort": self.effort}}, CHECKSUM_CODEC]


@dataclass(frozen=True, slots=True)
class VideoCodec:
    """Lossy colour or grey: ``frames`` pictures, (n, H, W, 3) or (n, H, W) uint8, as one piece.

    ``crf``: what was aimed at; a piece that would not have come out well is stored better, or as it was.
    """

    crf: int = 19
    frames: int = 12
    crc32c: bool = True

    def encode(self, picture: NDArray[Any]) -> bytes:
        return add_checksum(encode_video(picture, self.crf))

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        piece = self.open(payload, shape[1:])
        if piece.count != shape[0] or dtype != np.uint8:
            raise CorruptTakeError(f"a piece of video holds {piece.count} pictures instead of {shape[0]}", _DOCTOR)
        try:
            return np.stack(piece.pictures())
        except ValueError as error:
            raise CorruptTakeError(str(error), _DOCTOR) from error

    def open(self, payload: bytes, shape: tuple[int, ...]) -> Piece:
        """The piece, ready to decode single pictures of ``shape``. CorruptTakeError if it cannot be one."""
        try:
            return Piece(checked(payload), shape)
        except ValueError as error:
            raise CorruptTakeError(str(error), _DOCTOR) from error

    def zarr_codecs(self) -> list[dict[str, Any]]:
        return [{"name": VIDEO_NAME, "configuration": {"crf": self.crf}}, CHECKSUM_CODEC]


def dense_to_json(codec: object) -> dict[str, Any] | None:
    """How the manifest names a codec of this module; None for any other."""
    if isinstance(codec, JxlCodec):
        return {"name": "jxl", "effort": codec.effort, "crc32c": True}
    if isinstance(codec, VideoCodec):
        return {"name": "video", "crf": codec.crf, "frames": codec.frames, "crc32c": True}
    return None


def dense_from_json(value: dict[str, Any]) -> JxlCodec | VideoCodec | None:
    """Invert ``dense_to_json``. CorruptTakeError for impossible values."""
    if value.get("name") == "jxl":
        return JxlCodec(int(value.get("effort", 2)))
    if value.get("name") == "video":
        frames = int(value.get("frames", 0))
        if not 0 < frames <= LONGEST:
            raise CorruptTakeError(f"pieces of {frames} pictures are not possible", _DOCTOR)
        return VideoCodec(int(value.get("crf", 19)), frames)
    return None


def frames_per_chunk(codec: object) -> int:
    """How many successive items one chunk of a stream holds: several in a video, else one."""
    return codec.frames if isinstance(codec, VideoCodec) else 1
