"""Tells zarr about the ``clap.jpeg`` codec: import this before reading colour streams through plain ``zarr``.

Programs that have this package installed find it by its entry point (group ``zarr.codecs``) without importing. Needs
zarr, NumPy and imagecodecs, and of ours only ``zarr_base``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from zarr.registry import register_codec

from storage.zarr_base import ChunkCodec


@dataclass(frozen=True)
class ZarrJpeg(ChunkCodec):
    """One (1, H, W, 3) or (H, W, 3) uint8 chunk as one JPEG file."""

    NAME: ClassVar[str] = "clap.jpeg"
    quality: int = 95
    subsampling: str = "420"

    def encode_chunk(self, chunk: NDArray[Any]) -> bytes:
        picture = chunk.reshape(chunk.shape[-3:])
        return bytes(imagecodecs.jpeg8_encode(picture, level=self.quality, subsampling=self.subsampling))

    def decode_chunk(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        out = np.empty(shape[-3:], np.uint8)
        imagecodecs.jpeg8_decode(data, out=out)
        return out


register_codec(ZarrJpeg.NAME, ZarrJpeg)
