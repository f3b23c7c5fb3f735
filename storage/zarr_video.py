"""Tells zarr about the ``clap.video`` codec: import this before reading archived colour through plain ``zarr``.

Programs that have this package installed find it by its entry point (group ``zarr.codecs``) without importing. Needs
zarr, NumPy, PyAV and imagecodecs, and of ours only ``zarr_base`` and ``video_bytes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from zarr.registry import register_codec

from storage.video_bytes import Piece, encode_video
from storage.zarr_base import ChunkCodec


@dataclass(frozen=True)
class ZarrVideo(ChunkCodec):
    """One (N, H, W, 3) or (N, H, W) uint8 chunk as one independent piece of H.264; see ``video_bytes``.

    The last chunk of a take may hold fewer pictures than its shape; the rest reads as zeros.
    """

    NAME: ClassVar[str] = "clap.video"
    crf: int = 19

    def encode_chunk(self, chunk: NDArray[Any]) -> bytes:
        return encode_video(chunk, self.crf)

    def decode_chunk(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        piece = Piece(data, shape[1:])
        if piece.count > shape[0]:
            raise ValueError(f"a chunk holds {piece.count} pictures instead of {shape[0]}")
        out = np.zeros(shape, dtype)
        out[: piece.count] = piece.pictures()
        return out


register_codec(ZarrVideo.NAME, ZarrVideo)
