from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from storage.codecs import JpegCodec, ZstdCodec, choose_codec, codec_from_json, codec_to_json
from tests.storage.takes import DEPTH, FRONT
from workbench.core.errors import CorruptTakeError
from workbench.core.types import StreamSpec


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=20),
        elements=st.integers(0, 255),
    )
)
def test_zstd_returns_every_bit(picture: np.ndarray) -> None:
    codec = ZstdCodec()
    back = codec.decode(codec.encode(picture), picture.shape, picture.dtype)
    assert back.dtype == picture.dtype
    np.testing.assert_array_equal(back, picture)
    back[...] = 0  # a reader may draw into what it got


@settings(max_examples=20, deadline=None)
@given(st.integers(16, 60), st.integers(16, 60), st.integers(0, 2**32 - 1))
def test_jpeg_stays_close_on_smooth_pictures(height: int, width: int, seed: int) -> None:
    corners = np.random.default_rng(seed).uniform(0, 255, (2, 2, 3))
    y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    smooth = (corners[0, 0] * (1 - y) + corners[1, 0] * y) * (1 - x) + (corners[0, 1] * (1 - y) + corners[1, 1] * y) * x
    picture = smooth.astype(np.uint8)
    codec = JpegCodec(95, "444")
    back = codec.decode(codec.encode(picture), picture.shape, picture.dtype)
    assert np.abs(back.astype(int) - picture).mean() < 3


def test_broken_bytes_and_wrong_shapes_are_reported() -> None:
    picture = np.full((16, 16, 3), 90, np.uint8)
    for codec in (JpegCodec(), ZstdCodec()):
        payload = codec.encode(picture)
        with pytest.raises(CorruptTakeError):
            codec.decode(payload[: len(payload) // 3], picture.shape, picture.dtype)
        with pytest.raises(CorruptTakeError):
            codec.decode(b"", picture.shape, picture.dtype)
        with pytest.raises(CorruptTakeError):
            codec.decode(payload, (8, 16, 3), picture.dtype)
        with pytest.raises(CorruptTakeError):
            codec.decode(payload, (32, 16, 3), picture.dtype)


def test_the_choice_keeps_depth_lossless_and_small_colour_unsmeared() -> None:
    large = StreamSpec("observation.images.front", (480, 640, 3), "uint8")
    assert choose_codec(DEPTH, "jpeg", 95) == ZstdCodec()
    assert choose_codec(FRONT, "jpeg", 95) == JpegCodec(95, "444")
    assert choose_codec(large, "jpeg", 90) == JpegCodec(90, "420")
    assert choose_codec(large, "lossless", 90) == ZstdCodec()
    for codec in (JpegCodec(80, "444"), ZstdCodec(3)):
        assert codec_from_json(codec_to_json(codec)) == codec
    with pytest.raises(CorruptTakeError):
        codec_from_json({"name": "pickle"})


REAL = Path(__file__).parents[2].parent / "shared" / "data" / "realsense_f200_apc"


@pytest.mark.skipif(not REAL.is_dir(), reason="the RealSense recordings are not present")
def test_real_depth_and_colour() -> None:
    depth = imagecodecs.png_decode((REAL / "frame-000003.depth.png").read_bytes()).astype(np.uint16)
    spec = StreamSpec("observation.depth.front", depth.shape, "uint16", unit="mm")
    codec = choose_codec(spec, "jpeg", 95)
    payload = codec.encode(depth)
    np.testing.assert_array_equal(codec.decode(payload, depth.shape, depth.dtype), depth)
    assert len(payload) < depth.nbytes / 3
    color = imagecodecs.png_decode((REAL / "frame-000003.color.png").read_bytes())[..., :3].copy()
    codec = choose_codec(StreamSpec("observation.images.front", color.shape, "uint8"), "jpeg", 95)
    error = codec.decode(codec.encode(color), color.shape, color.dtype).astype(float) - color
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 36
