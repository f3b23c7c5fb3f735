"""Tells zarr about the ``clap.jpeg`` codec: import this before reading colour streams through plain ``zarr``.

Programs that have this package installed find it by its entry point (group ``zarr.codecs``) without importing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.registry import register_codec

from storage.codecs import JPEG_NAME, JpegCodec


@dataclass(frozen=True)
class ZarrJpeg(ArrayBytesCodec):  # type: ignore[misc]
    """One (1, H, W, 3) or (H, W, 3) uint8 chunk as one JPEG file."""

    quality: int = 95
    subsampling: str = "420"
    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ZarrJpeg:
        """Read the codec's entry in ``zarr.json``."""
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """The codec's entry in ``zarr.json``."""
        return self._codec.zarr_codecs()[0]

    def evolve_from_array_spec(self, array_spec: Any) -> ZarrJpeg:
        """Nothing depends on the array."""
        return self

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Unknown before encoding."""
        raise NotImplementedError("JPEG has no fixed size")

    async def _encode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        picture = np.ascontiguousarray(chunk_array.as_numpy_array()).reshape(chunk_spec.shape[-3:])
        return chunk_spec.prototype.buffer.from_bytes(self._codec.encode(picture))

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        picture = self._codec.decode(chunk_bytes.to_bytes(), tuple(chunk_spec.shape[-3:]), np.dtype(np.uint8))
        return chunk_spec.prototype.nd_buffer.from_numpy_array(picture.reshape(chunk_spec.shape))

    @property
    def _codec(self) -> JpegCodec:
        return JpegCodec(self.quality, self.subsampling)


register_codec(JPEG_NAME, ZarrJpeg)
