"""Tells zarr about the ``clap.jxl`` codec: import this before reading archived depth through plain ``zarr``.

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
class ZarrJxl(ChunkCodec):
    """One (1, H, W) or (H, W) chunk of uint8 or uint16 as one lossless JPEG XL file."""

    NAME: ClassVar[str] = "clap.jxl"
    effort: int = 2

    def encode_chunk(self, chunk: NDArray[Any]) -> bytes:
        picture = chunk.reshape(chunk.shape[-2:])
        return bytes(imagecodecs.jpegxl_encode(picture, lossless=True, effort=self.effort, numthreads=1))

    def decode_chunk(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        picture: NDArray[Any] = imagecodecs.jpegxl_decode(data, numthreads=1)
        if picture.dtype != dtype or picture.size != np.prod(shape):
            raise ValueError(f"a chunk holds {picture.dtype}{list(picture.shape)} instead of {dtype}{list(shape)}")
        return picture


register_codec(ZarrJxl.NAME, ZarrJxl)
