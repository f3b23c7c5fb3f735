"""Our Zarr codecs through plain zarr-python, and the pieces of video beneath them."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.dense_codecs import JxlCodec, VideoCodec, dense_from_json, dense_to_json
from storage.likeness import psnr_db, ssim
from storage.video_bytes import JPEG, ZSTD, Piece, encode_video, pack_stored
from storage.zarr_jpeg import ZarrJpeg
from storage.zarr_jxl import ZarrJxl
from storage.zarr_video import ZarrVideo
from workbench.core.errors import CorruptTakeError


def moving(count: int, height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth pictures of something that moves, (N, H, W, 3) or (N, H, W)."""
    phase = np.random.default_rng(seed).uniform(0, 6, 3)[:channels]
    y, x = np.ogrid[:height, :width]
    waves = [
        [110 + 60 * np.sin(x / 23 + 0.1 * k + p) + 50 * np.cos(y / 31 - 0.15 * k + p) for p in phase]
        for k in range(count)
    ]
    pictures = np.stack([np.stack(wave, -1) for wave in waves]).clip(0, 255).astype(np.uint8)
    return pictures if channels == 3 else pictures[..., 0]


@settings(max_examples=25)
@given(st.integers(1, 14), st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3]), st.integers(0, 99))
@example(1, 1, 1, 3, 0)
@example(13, 33, 1, 1, 0)
def test_pieces_of_video_give_one_picture_as_they_give_all(
    count: int, height: int, width: int, channels: int, seed: int
) -> None:
    pictures = moving(count, height, width, channels, seed)
    data = encode_video(pictures, 16)
    piece = Piece(data, pictures.shape[1:])
    together = piece.pictures()
    assert piece.count == count == len(together)
    for number in np.random.default_rng(seed).permutation(count):
        np.testing.assert_array_equal(piece.picture(int(number)), together[number])
    assert psnr_db(pictures, np.stack(together)) > 30
    with pytest.raises(IndexError):
        piece.picture(count)


def test_video_is_small_clean_and_does_not_shift_colours() -> None:
    pictures = moving(6, 480, 640)
    data = encode_video(pictures, 19)
    back = np.stack(Piece(data, (480, 640, 3)).pictures())
    assert len(data) / 6 < 15_000
    assert psnr_db(pictures, back) > 38 and ssim(pictures, back) > 0.95
    assert np.abs((back.astype(np.float64) - pictures).mean((0, 1, 2))).max() < 0.6
    flat = np.full((3, 240, 320, 3), (200, 30, 90), np.uint8)
    there = np.stack(Piece(encode_video(flat, 10), (240, 320, 3)).pictures())
    assert np.abs(there.astype(int) - flat).max() <= 3


@settings(max_examples=60)
@given(st.data())
def test_broken_pieces_are_refused_and_never_crash(data: st.DataObject) -> None:
    shape = (20, 24, 3)
    whole = PIECES[data.draw(st.sampled_from(sorted(PIECES)))]
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    broken = broken[: data.draw(st.integers(0, len(broken)))]
    for attempt in (bytes(broken), data.draw(st.binary(max_size=200))):
        try:
            pictures = Piece(attempt, shape).pictures()
        except ValueError:
            continue
        assert all(picture.shape == shape and picture.dtype == np.uint8 for picture in pictures)


PIECES = {
    "video": encode_video(moving(5, 20, 24), 20),
    "jpeg": pack_stored(JPEG, [bytes(imagecodecs.jpeg8_encode(p)) for p in moving(3, 20, 24)], (20, 24, 3)),
    "zstd": pack_stored(ZSTD, [bytes(imagecodecs.zstd_encode(p.tobytes())) for p in moving(3, 20, 24)], (20, 24, 3)),
}


def test_stored_pictures_come_back_byte_for_byte() -> None:
    pictures = moving(3, 20, 24)
    np.testing.assert_array_equal(Piece(PIECES["zstd"], (20, 24, 3)).pictures(), pictures)
    np.testing.assert_array_equal(Piece(PIECES["zstd"], (20, 24, 3)).picture(1), pictures[1])
    assert psnr_db(Piece(PIECES["jpeg"], (20, 24, 3)).picture(2), pictures[2]) > 30
    for piece in PIECES.values():
        with pytest.raises(ValueError, match="20x24"):
            Piece(piece, (24, 20, 3))


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_random_payloads_are_corrupt_takes(payload: bytes) -> None:
    for codec, shape, dtype in ((JxlCodec(), (8, 9), np.uint16), (VideoCodec(19, 4), (4, 8, 9, 3), np.uint8)):
        with pytest.raises(CorruptTakeError):
            codec.decode(payload, shape, np.dtype(dtype))


@settings(max_examples=30)
@given(st.sampled_from([np.uint8, np.uint16]), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_jxl_returns_every_bit(kind: type, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, np.iinfo(kind).max, (height, width), endpoint=True).astype(kind)
    picture[rng.random(picture.shape) < 0.4] = 0
    codec = JxlCodec()
    payload = codec.encode(picture)
    np.testing.assert_array_equal(codec.decode(payload, picture.shape, picture.dtype), picture)
    flipped = bytearray(payload)
    flipped[len(flipped) // 2] ^= 4
    with pytest.raises(CorruptTakeError):
        codec.decode(bytes(flipped), picture.shape, picture.dtype)
    with pytest.raises(CorruptTakeError):
        codec.decode(payload, (height + 1, width), picture.dtype)


def test_manifest_names_are_inverted() -> None:
    for codec in (JxlCodec(3), VideoCodec(21, 7)):
        assert dense_from_json(dense_to_json(codec) or {}) == codec
    assert dense_to_json("jpeg") is None and dense_from_json({"name": "jpeg"}) is None
    with pytest.raises(CorruptTakeError):
        dense_from_json({"name": "video", "crf": 19, "frames": 0})


@pytest.mark.parametrize("sharded", [False, True])
def test_zarr_itself_writes_and_reads_our_codecs(tmp_path: Path, sharded: bool) -> None:
    color, depth = moving(7, 31, 45), moving(7, 31, 45, 1).astype(np.uint16) * 251
    cases = (
        (ZarrVideo(12), color, (4, 31, 45, 3)),
        (ZarrVideo(12), color[..., 0].copy(), (4, 31, 45)),
        (ZarrJpeg(95, "444"), color, (1, 31, 45, 3)),
        (ZarrJxl(), depth, (1, 31, 45)),
    )
    for number, (codec, items, chunk) in enumerate(cases):
        shards = (8, *chunk[1:]) if sharded else None
        made = zarr.create_array(
            str(tmp_path / f"{number}"), shape=items.shape, dtype=items.dtype, chunks=chunk, shards=shards,
            serializer=codec, compressors=None, filters=None,
        )  # fmt: skip
        made[:] = items
        back = zarr.open_array(str(tmp_path / f"{number}"), mode="r")
        if items.dtype == np.uint16:
            np.testing.assert_array_equal(back[:], items)
        else:
            assert psnr_db(back[:], items) > 33
        np.testing.assert_array_equal(back[5], back[:][5])
        with pytest.raises(NotImplementedError):
            codec.compute_encoded_size(1, None)
