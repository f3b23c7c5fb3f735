"""Opens a stream of pictures for reading, whichever way it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.dense_codecs import VideoCodec
from storage.manifest import StreamLayout
from storage.shards import FrameReader
from storage.video_bytes import Piece
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.types import StreamSpec

_DOCTOR = "Run `python main.py doctor`"


class PictureReader(Protocol):
    """Reads single pictures of one stream. Not thread-safe: one per thread."""

    @property
    def count(self) -> int:
        """How many pictures there are."""

    def read(self, index: int) -> NDArray[Any]:
        """One decoded picture, a fresh writable array. IndexError outside the take, CorruptTakeError if damaged."""

    def close(self) -> None:
        """Close the files; safe to call twice."""


class VideoReader:
    """Reads single pictures of an archived stream.

    A jump decodes only the packets that its picture needs; whoever then stays in the same piece, or walks on into the
    next one, gets the whole piece decoded once and read from memory.
    """

    def __init__(self, chunks: FrameReader, spec: StreamSpec, codec: VideoCodec, count: int) -> None:
        self.count = count
        self._chunks = chunks
        self._spec = spec
        self._codec = codec
        self._last = -1
        self._whole: tuple[int, list[NDArray[np.uint8]]] = -1, []

    def read(self, index: int) -> NDArray[Any]:
        """One decoded picture, a fresh writable array. IndexError outside the take, CorruptTakeError if damaged."""
        if not 0 <= index < self.count:
            raise IndexError(f"{self._spec.name} has {self.count} items, not an item {index}")
        chunk, place = divmod(index, self._codec.frames)
        stays = self._last >= 0 and self._last // self._codec.frames == chunk
        walks_in = place == 0 and self._last == index - 1
        self._last = index
        if self._whole[0] == chunk:
            return self._whole[1][place].copy()
        try:
            piece = self._open(chunk)
            if not (stays or walks_in):
                return piece.picture(place)
            self._whole = chunk, piece.pictures()
        except (ValueError, CorruptTakeError) as error:
            words = error.what if isinstance(error, CorruptTakeError) else str(error)
            raise CorruptTakeError(f"item {index} of {self._spec.name} is damaged ({words})", _DOCTOR) from error
        return self._whole[1][place].copy()

    def close(self) -> None:
        """Close the files and forget what was decoded; safe to call twice."""
        self._chunks.close()
        self._whole, self._last = (-1, []), -1

    def _open(self, chunk: int) -> Piece:
        piece = self._codec.open(self._chunks.payload(chunk), self._spec.shape)
        if piece.count != min(self._codec.frames, self.count - chunk * self._codec.frames):
            raise CorruptTakeError(f"chunk {chunk} of {self._spec.name} holds {piece.count} pictures", _DOCTOR)
        return piece


def open_chunks(folder: Path, spec: StreamSpec, layout: StreamLayout, count: int) -> FrameReader:
    """The stored chunks of a stream by ``payload(number)`` and ``check(number)``: pictures, or pieces of video.

    Args:
        folder: of the take.
        count: pictures; the result counts chunks.
    """
    if layout.codec is None:
        raise WorkbenchError(f"the stream {spec.name} holds vectors, not pictures", "Use vectors()")
    if not isinstance(layout.codec, VideoCodec):
        return FrameReader(folder / spec.name, spec, layout.codec, layout.per_file, count)
    frames = layout.codec.frames
    return FrameReader(folder / spec.name, spec, layout.codec, layout.places, -(-count // frames))


def open_pictures(folder: Path, spec: StreamSpec, layout: StreamLayout, count: int) -> PictureReader:
    """A reader of the pictures of a stream of the take in ``folder``."""
    chunks = open_chunks(folder, spec, layout, count)
    if isinstance(layout.codec, VideoCodec):
        return VideoReader(chunks, spec, layout.codec, count)
    return chunks
