"""The parts of the RealSense plug-in that need no device: pairing, millimetres, filters' words, rounds, clocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.realsense_config import Config
from hardware.realsense_filters import FilterSpec, Millimetres
from hardware.realsense_frames import Round, Stamper
from hardware.realsense_pairing import Half, Pairing
from workbench.core.errors import WorkbenchError

PERIOD_MS = 1000 / 30


def half(number: int, t_ms: float, domain: str = "hardware", arrival_ms: float | None = None) -> Half:
    return Half(number, t_ms, domain, round((t_ms if arrival_ms is None else arrival_ms) * 1e6), number)


def drained(pairing: Pairing, now_ms: float) -> list[tuple[int, int | None]]:
    pairs = []
    while (pair := pairing.next(round(now_ms * 1e6))) is not None:
        pairs.append((pair.color.number, pair.depth.number if pair.depth else None))
    return pairs


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40),
    st.floats(-12, 12),
    st.randoms(use_true_random=False),
)
def test_every_colour_picture_comes_out_once_in_order_with_its_own_depth(kept, offset_ms, random):
    """Any halves may be lost and the sensors may be out of step by less than half a period."""
    pairing = Pairing(30.0, 30.0)
    events = [(n * PERIOD_MS, "color", n) for n, (color, _) in enumerate(kept) if color]
    events += [(n * PERIOD_MS + offset_ms, "depth", n) for n, (_, depth) in enumerate(kept) if depth]
    out = []
    for t_ms, kind, number in sorted(events):
        add = pairing.add_color if kind == "color" else pairing.add_depth
        add(half(number, t_ms))
        if random.random() < 0.7:
            out += drained(pairing, t_ms)
    out += drained(pairing, len(kept) * PERIOD_MS + 1000)
    assert out == [(n, n if depth else None) for n, (color, depth) in enumerate(kept) if color]


def test_a_colour_picture_waits_for_its_depth_but_not_for_ever():
    pairing = Pairing(30.0, 30.0)
    pairing.add_color(half(1, 100.0))
    assert drained(pairing, 100.0 + 2 * PERIOD_MS) == []
    assert pairing.waiting()
    assert drained(pairing, 100.0 + 4 * PERIOD_MS) == [(1, None)]
    pairing.add_depth(half(1, 100.0))
    pairing.add_color(half(2, 100.0 + PERIOD_MS))
    pairing.add_depth(half(2, 100.0 + PERIOD_MS))
    assert drained(pairing, 170.0) == [(2, 2)]


def test_without_depth_nothing_waits():
    pairing = Pairing(30.0, 0.0)
    pairing.add_color(half(1, 100.0))
    assert drained(pairing, 100.0) == [(1, None)]


def test_sensors_that_stamp_in_different_domains_are_paired_by_arrival():
    pairing = Pairing(30.0, 30.0)
    pairing.add_color(half(1, 5.0, "hardware", arrival_ms=1000.0))
    pairing.add_depth(half(9, 1.7e12, "system", arrival_ms=1004.0))
    assert drained(pairing, 1005.0) == [(1, 9)]


def test_a_slower_depth_stream_is_not_used_twice():
    pairing = Pairing(30.0, 15.0)
    for n in range(6):
        pairing.add_color(half(n, n * PERIOD_MS))
        if n % 2 == 0:
            pairing.add_depth(half(n // 2, n * PERIOD_MS))
    assert drained(pairing, 1000.0) == [(0, 0), (1, None), (2, 1), (3, None), (4, 2), (5, None)]


@given(st.sampled_from([0.001, 0.0001, 0.00025, 0.01, 1e-6]), st.lists(st.integers(0, 65535), min_size=1, max_size=50))
def test_millimetres_are_right_to_half_a_millimetre_for_any_unit(unit_m, counts):
    raw = np.array([counts], np.uint16)
    mm, saturated = Millimetres().convert(raw, float(np.float32(unit_m)))
    exact = raw.astype(float) * unit_m * 1000
    assert mm.dtype == np.uint16 and not np.shares_memory(mm, raw)
    assert np.array_equal(mm == 0, raw == 0)
    far = np.rint(exact) > 65535
    assert saturated == far.sum() and np.all(mm[far] == 65535)
    near = ~far & (exact >= 0.5)
    assert np.all(np.abs(mm[near] - exact[near]) <= 0.5 + 1e-6)


def test_the_unit_may_change_while_streaming():
    millimetres = Millimetres()
    raw = np.array([[0, 1000]], np.uint16)
    assert millimetres.convert(raw, 0.001)[0].tolist() == [[0, 1000]]
    assert millimetres.convert(raw, 0.0001)[0].tolist() == [[0, 100]]
    assert millimetres.convert(raw, 0.001)[0].tolist() == [[0, 1000]]


def test_filters_are_read_and_wrong_words_answered_with_the_nearest():
    assert FilterSpec.parse("spatial: alpha=0.5, delta=20") == FilterSpec("spatial", (("alpha", 0.5), ("delta", 20.0)))
    for text, words in (
        ("spatal", "Did you mean 'spatial'"),
        ("threshold:max=2", "Did you mean 'max_m'"),
        ("spatial:alpha=much", "not a number"),
        ("to_depth:x=1", "Choose one of: none"),
    ):
        with pytest.raises(WorkbenchError, match=words):
            FilterSpec.parse(text)


def test_settings_that_do_not_go_together_are_refused():
    assert Config(exposure_us="auto", white_balance_k="auto") == Config()
    for wrong in (
        {"sync_role": "chief"},
        {"filters": ("decimation",), "align_depth": False},
        {"filters": ("nonsense",)},
        {"recording": "a.db3", "record_to": "b.db3"},
    ):
        with pytest.raises(WorkbenchError):
            Config(**wrong)


class Frame:
    """Just the stamps of a picture."""

    def __init__(self, t_ms: float, domain: str = "hardware_clock") -> None:
        self._t_ms, self._domain = t_ms, domain

    def get_frame_timestamp_domain(self):
        return type("Domain", (), {"name": self._domain})

    def get_timestamp(self):
        return self._t_ms

    def get_frame_number(self):
        return 1

    def supports_frame_metadata(self, _):
        return False


def test_the_cameras_32_bit_clock_goes_on_after_it_wraps():
    pytest.importorskip("pyrealsense2")
    stamper, wrap_ms = Stamper(), 2**32 / 1000
    times = [stamper.half(Frame(t % wrap_ms)).t_ms for t in np.arange(wrap_ms - 100, wrap_ms + 100, PERIOD_MS)]
    assert np.allclose(np.diff(times), PERIOD_MS, atol=1e-3)
    other = Stamper()
    other.half(Frame(1.7e12, "system_time"))
    assert other.half(Frame(5.0, "system_time")).t_ms == 5.0  # only the device's own clock wraps


def test_a_looped_recording_goes_on_counting_numbers_and_time():
    first = Round()
    stamps = [first.stamp(n, 1000.0 + 100 * n, "color") for n in (7, 8, 10)]
    first.stamp(17, 1700.0, "depth")
    first.stamp(20, 2000.0, "depth")
    second = first.following(10.0)
    stamps += [second.stamp(n, 1000.0 + 100 * n, "color") for n in (7, 8, 10)]
    third = second.following(10.0)
    stamps += [third.stamp(7, 1700.0, "color")]
    assert [number for number, _ in stamps] == [7, 8, 10, 11, 12, 14, 15]
    assert [t_ns // 10**6 for _, t_ns in stamps] == [1700, 1800, 2000, 2100, 2200, 2400, 2500]
    assert second.stamp(17, 1700.0, "depth") == (21, 2_100_000_000)
