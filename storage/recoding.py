"""Storing a stream's pictures anew, smaller, each checked against what was stored before it is written."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.checksum import add_checksum, checked
from storage.codecs import JpegCodec, PictureCodec, ZstdCodec, codec_to_json, is_photograph
from storage.dense_codecs import JxlCodec, VideoCodec
from storage.disk import write_file
from storage.likeness import EQUAL_DB, psnr_db, ssim
from storage.manifest import Manifest, StreamLayout
from storage.picture_readers import open_chunks
from storage.shards import FrameReader, pack_shard, shard_name
from storage.video_bytes import JPEG, ZSTD, Piece, encode_video, pack_stored
from workbench.core.errors import WorkbenchError
from workbench.core.types import StreamSpec

PIECES_PER_FILE = 20
WORTH = 0.9  # a stream is stored anew only if it shrinks below this part of its size
_SAMPLES = 8
Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """How takes are archived.

    Attributes:
        frames: pictures per piece of video; a picture in the middle costs a few packets of its piece.
        crf: quality aimed at, of H.264: 0 best .. 51; better_crf: for pieces that did not come out well.
        least_psnr_db, least_ssim: what "well" means; a piece that misses them at both qualities is kept as it was.
        jxl_effort: of lossless JPEG XL, 1..9, for depth.
        sync: wait for the disk before the swap. False only for tests and simulated time.
    """

    frames: int = 12
    crf: int = 19
    better_crf: int = 13
    least_psnr_db: float = 34.0
    least_ssim: float = 0.92
    jxl_effort: int = 2
    sync: bool = True


@dataclass(slots=True)
class Recoded:
    """What became of one stream. ``psnr_db`` and ``ssim`` are means over its pieces, None where nothing was lost."""

    layout: StreamLayout
    bytes_before: int = 0
    bytes_after: int = 0
    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    better: int = 0
    kept: int = 0

    def to_json(self) -> dict[str, Any]:
        """For the manifest: figures, the worst piece, and how many pieces were stored better or kept as they were."""
        name = codec_to_json(self.layout.codec)["name"] if self.layout.codec else ""
        told = {"codec": name, "bytes_before": self.bytes_before, "bytes_after": self.bytes_after}
        if not self.psnr:
            return {**told, "lossless": True}
        return {
            **told,
            "psnr_db": round(statistics.fmean(self.psnr), 2),
            "ssim": round(statistics.fmean(self.ssim), 4),
            "worst": {"psnr_db": round(min(self.psnr), 2), "ssim": round(min(self.ssim), 4)},
            "pieces": {"all": len(self.psnr), "better": self.better, "kept": self.kept},
        }


def plan_codec(spec: StreamSpec, layout: StreamLayout, settings: ArchiveSettings) -> PictureCodec | None:
    """How a stream would be archived; None if it stays as it is.

    Only what is called a picture may lose something: depth, masks and the like are stored without loss.
    """
    if not isinstance(layout.codec, JpegCodec | ZstdCodec):
        return None
    if is_photograph(spec):
        return VideoCodec(settings.crf, settings.frames)
    if len(spec.shape) == 2 and spec.dtype in ("uint8", "uint16") and isinstance(layout.codec, ZstdCodec):
        return JxlCodec(settings.jxl_effort)
    return None


def recode(
    source: Path,
    target: Path,
    manifest: Manifest,
    name: str,
    codec: PictureCodec,
    settings: ArchiveSettings,
    tick: Tick,
) -> Recoded | None:
    """Write the stream ``name`` of the take in ``source`` anew into the folder ``target``, which is made.

    Args:
        tick: called with the number of pictures done since the last call; may raise to stop.

    Returns:
        None, with nothing written, if samples of a lossless stream show that it would not shrink. OSError if the disk
        refuses, CorruptTakeError if a picture cannot be read.
    """
    spec, layout, count = manifest.streams[name], manifest.layout[name], manifest.counts[name]
    reader = open_chunks(source, spec, layout, count)
    try:
        if isinstance(codec, VideoCodec):
            result = Recoded(StreamLayout(codec.frames * PIECES_PER_FILE, codec))
            chunks = _pieces(reader, spec, layout, codec, settings, result, tick)
        else:
            if not _shrinks(reader, codec):
                return None
            result = Recoded(StreamLayout(layout.per_file, codec))
            chunks = _pictures(reader, codec, tick)
        target.mkdir(parents=True)
        result.bytes_after = _write(target, chunks, result.layout.places, len(spec.shape))
    finally:
        reader.close()
    return result


def _pieces(
    reader: FrameReader,
    spec: StreamSpec,
    layout: StreamLayout,
    codec: VideoCodec,
    settings: ArchiveSettings,
    result: Recoded,
    tick: Tick,
) -> Iterator[bytes]:
    kind = JPEG if isinstance(layout.codec, JpegCodec) else ZSTD
    for first in range(0, reader.count, codec.frames):
        numbers = range(first, min(first + codec.frames, reader.count))
        payloads = [reader.check(number) for number in numbers]
        if layout.codec is not None and layout.codec.crc32c:
            payloads = [checked(payload) for payload in payloads]
        kept = pack_stored(kind, payloads, spec.shape)
        pictures = np.stack(Piece(kept, spec.shape).pictures())
        yield add_checksum(_smallest_good(pictures, kept, settings, result))
        tick(len(numbers))


def _smallest_good(pictures: NDArray[np.uint8], kept: bytes, settings: ArchiveSettings, result: Recoded) -> bytes:
    """The piece at the quality aimed at, else better, else as it was; decoded again to be sure."""
    for crf in (settings.crf, settings.better_crf):
        data = encode_video(pictures, crf)
        if len(data) >= len(kept):
            break
        back = np.stack(Piece(data, pictures.shape[1:]).pictures())
        likeness = psnr_db(pictures, back), ssim(pictures, back)
        if likeness[0] >= settings.least_psnr_db and likeness[1] >= settings.least_ssim:
            result.psnr.append(likeness[0])
            result.ssim.append(likeness[1])
            result.better += crf != settings.crf
            return data
    result.psnr.append(EQUAL_DB)
    result.ssim.append(1.0)
    result.kept += 1
    return kept


def _pictures(reader: FrameReader, codec: PictureCodec, tick: Tick) -> Iterator[bytes]:
    for index in range(reader.count):
        yield _exact(reader.read(index), codec)
        tick(1)


def _exact(picture: NDArray[Any], codec: PictureCodec) -> bytes:
    """The picture encoded and compared bit by bit with what comes back."""
    payload = codec.encode(np.ascontiguousarray(picture))
    if not np.array_equal(codec.decode(payload, picture.shape, picture.dtype), picture):
        raise WorkbenchError("a picture did not come back bit by bit", "The take is kept as it is; report this")
    return payload


def _shrinks(reader: FrameReader, codec: PictureCodec) -> bool:
    """Whether a few pictures spread over the stream get smaller."""
    some = sorted({round(at) for at in np.linspace(0, reader.count - 1, _SAMPLES)}) if reader.count else []
    before = sum(len(reader.payload(index)) for index in some)
    return sum(len(codec.encode(np.ascontiguousarray(reader.read(index)))) for index in some) < WORTH * before


def _write(folder: Path, chunks: Iterator[bytes], places: int, dimensions: int) -> int:
    """Chunks into shard files; returns their bytes. Made durable later, all at once."""
    shard, waiting, written = 0, [], 0
    for chunk in chunks:
        waiting.append(chunk)
        if len(waiting) == places:
            written += _save(folder, shard, waiting, places, dimensions)
            shard, waiting = shard + 1, []
    return written + (_save(folder, shard, waiting, places, dimensions) if waiting else 0)


def _save(folder: Path, shard: int, chunks: list[bytes], places: int, dimensions: int) -> int:
    data = pack_shard(chunks, places)
    write_file(folder / shard_name(shard, dimensions), data, sync=False)
    return len(data)


def with_codecs(manifest: Manifest, layouts: dict[str, StreamLayout]) -> Manifest:
    """The manifest of the same take with some streams stored another way."""
    return dataclasses.replace(manifest, layout={**manifest.layout, **layouts})
