"""What our Zarr v3 codecs have in common: one chunk of pixels becomes bytes, and nothing depends on the array."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec


class ChunkCodec(ArrayBytesCodec):  # type: ignore[misc]
    """Subclasses are frozen dataclasses, their fields the configuration in ``zarr.json``. ValueError on bad bytes."""

    NAME: ClassVar[str]
    is_fixed_size = False

    def encode_chunk(self, chunk: NDArray[Any]) -> bytes:
        """The bytes of one C-contiguous chunk."""
        raise NotImplementedError

    def decode_chunk(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Invert ``encode_chunk``."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the codec's entry in ``zarr.json``."""
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """The codec's entry in ``zarr.json``."""
        names = [field.name for field in dataclasses.fields(self)]
        return {"name": self.NAME, "configuration": {name: getattr(self, name) for name in names}}

    def evolve_from_array_spec(self, array_spec: Any) -> Self:
        """Nothing depends on the array."""
        return self

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Unknown before encoding."""
        raise NotImplementedError(f"{self.NAME} has no fixed size")

    async def _encode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        chunk = np.ascontiguousarray(chunk_array.as_numpy_array())
        return chunk_spec.prototype.buffer.from_bytes(self.encode_chunk(chunk))

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        dtype = chunk_spec.dtype.to_native_dtype()
        chunk = self.decode_chunk(chunk_bytes.to_bytes(), tuple(chunk_spec.shape), dtype)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(chunk.reshape(chunk_spec.shape))
