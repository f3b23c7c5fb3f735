"""Which codec for which pictures: size, likeness and processor time of candidates, on real or simulated pictures."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.codecs import JpegCodec, ZstdCodec
from storage.dense_codecs import JxlCodec
from storage.episode import Episode
from storage.layout import Home
from storage.likeness import psnr_db, ssim
from storage.video_bytes import Piece, encode_video
from workbench.services.bench_pictures import camera_takes

COLOR, DEPTH = "observation.images.view", "observation.depth.view"
_RANDOM_READS = 24
Pictures = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Coded:
    """Pictures after encoding, and how to get them back: one alone, or all in order."""

    size: int
    one: Callable[[int], Pictures]
    all: Callable[[], Pictures]


Candidate = Callable[[Pictures], Coded]


def bench_codecs(pictures: int, cameras: int, folder: Path | None, seed: int) -> dict[str, Any]:
    """Measure all candidates. Processor milliseconds per picture; ``ratio``: raw bytes over stored bytes.

    Args:
        pictures: per camera. cameras: how many different views, at most as many as the folder has videos.
        folder: with videos and depth frames; None: pictures of the simulated station with sensor noise.

    Colour is what capture stores (JPEG 95) and then stored anew; ``psnr_db`` and ``ssim`` compare with that.
    ``random_ms``: one picture anywhere; ``sequential_ms``: each of all in order.
    """
    with tempfile.TemporaryDirectory(prefix="clap-bench-") as place:
        takes, words = camera_takes(Home.open(Path(place)), cameras, pictures, folder, seed)
        colors = [_recorded(_read(take, COLOR)) for take in takes]
        depth = _read(takes[0], DEPTH)[:10]
    return {
        "pictures": words,
        "color": {name: _mean([_measure(make, seen, seed) for seen in colors]) for name, make in _color().items()},
        "depth": {name: _measure(make, depth, seed, lossless=True) for name, make in _depth().items()},
    }


def _read(folder: Path, stream: str) -> Pictures:
    with Episode.at(folder) as take:
        return np.stack([take.read(stream, index) for index in range(take.manifest.counts[stream])])


def _recorded(raw: Pictures) -> Pictures:
    codec = JpegCodec()
    return np.stack([codec.decode(codec.encode(picture), picture.shape, picture.dtype) for picture in raw])


def _measure(make: Candidate, pictures: Pictures, seed: int, *, lossless: bool = False) -> dict[str, float]:
    count = len(pictures)
    encode_s, coded = _timed(lambda: make(pictures))
    sequential_s, back = _timed(coded.all)
    chosen = np.random.default_rng(seed).integers(0, count, _RANDOM_READS)
    random_s, _ = _timed(lambda: [coded.one(int(index)) for index in chosen])
    figures = {
        "bytes": round(coded.size / count),
        "ratio": round(pictures.nbytes / coded.size, 1),
        "encode_ms": round(1000 * encode_s / count, 2),
    }
    if lossless:
        return {
            **figures,
            "decode_ms": round(1000 * sequential_s / count, 2),
            "exact": bool(np.array_equal(back, pictures)),
        }
    likeness = {"psnr_db": round(psnr_db(pictures, back), 2), "ssim": round(ssim(pictures, back), 4)}
    times = {"random_ms": 1000 * random_s / len(chosen), "sequential_ms": 1000 * sequential_s / count}
    return {**figures, **likeness, **{name: round(ms, 2) for name, ms in times.items()}}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def _each(encode: Callable[..., bytes | bytearray], decode: Callable[[bytes], Any]) -> Candidate:
    """A codec of single pictures as a candidate."""

    def make(pictures: Pictures) -> Coded:
        stored = [bytes(encode(np.ascontiguousarray(picture))) for picture in pictures]

        def one(index: int) -> Pictures:
            return np.asarray(decode(stored[index])).reshape(pictures.shape[1:])

        return Coded(sum(map(len, stored)), one, lambda: np.stack([one(index) for index in range(len(stored))]))

    return make


def _stored(codec: JpegCodec | ZstdCodec | JxlCodec) -> Candidate:
    """One of ours as a candidate."""

    def make(pictures: Pictures) -> Coded:
        shape, dtype = pictures.shape[1:], pictures.dtype
        return _each(codec.encode, lambda payload: codec.decode(payload, shape, dtype))(pictures)

    return make


def _video(crf: int, frames: int) -> Candidate:
    def make(pictures: Pictures) -> Coded:
        shape = pictures.shape[1:]
        starts = range(0, len(pictures), frames)
        pieces = [encode_video(pictures[first : first + frames], crf) for first in starts]
        return Coded(
            sum(map(len, pieces)),
            lambda index: Piece(pieces[index // frames], shape).picture(index % frames),
            lambda: np.stack([picture for data in pieces for picture in Piece(data, shape).pictures()]),
        )

    return make


def _color() -> dict[str, Candidate]:
    jpegxl = partial(imagecodecs.jpegxl_decode, numthreads=1)
    return {
        "jpeg 95 (capture)": _stored(JpegCodec()),
        "zstd 1 (lossless capture)": _stored(ZstdCodec()),
        "jpeg 80": _stored(JpegCodec(80)),
        "webp 75": _each(partial(imagecodecs.webp_encode, level=75, lossless=False), imagecodecs.webp_decode),
        "avif 65 speed 9": _each(
            partial(imagecodecs.avif_encode, level=65, speed=9, numthreads=1),
            partial(imagecodecs.avif_decode, numthreads=1),
        ),
        "jpeg xl distance 2 effort 3": _each(
            partial(imagecodecs.jpegxl_encode, distance=2, effort=3, numthreads=1), jpegxl
        ),
        "h264 crf 19 pieces of 8": _video(19, 8),
        "h264 crf 19 pieces of 12 (archive)": _video(19, 12),
        "h264 crf 23 pieces of 12": _video(23, 12),
        "h264 crf 19 pieces of 30": _video(19, 30),
    }


def _depth() -> dict[str, Candidate]:
    return {
        "zstd 1 (capture)": _stored(ZstdCodec()),
        "zstd 9": _stored(ZstdCodec(9)),
        "zstd 19": _stored(ZstdCodec(19)),
        "png 1": _each(partial(imagecodecs.png_encode, level=1), imagecodecs.png_decode),
        "jpeg-ls": _each(imagecodecs.jpegls_encode, imagecodecs.jpegls_decode),
        "jpeg xl effort 1": _stored(JxlCodec(1)),
        "jpeg xl effort 2 (archive)": _stored(JxlCodec(2)),
        "jpeg xl effort 3": _stored(JxlCodec(3)),
    }
