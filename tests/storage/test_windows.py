"""Windows over takes: what is in them, what is left out, and that reading them costs no memory and no surprises."""

from __future__ import annotations

import dataclasses
import multiprocessing as mp
import os
import pickle
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.derived import derived
from storage.edits import change_manifest, move_take
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from storage.windows import WindowReader, WindowSpec, align, common_grid, fresh_items, reduced
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Frame, StreamSpec, TakeInfo

CAMERAS = ("front", "wrist")
SPEC = WindowSpec(CAMERAS, step_s=0.1, horizon=4, actions=6)
START = 5 * 10**12


def make_take(home: Home, number: int, seconds: float = 3.0, *, arm: bool = True, lose: range = range(0)) -> str:
    """Two cameras at 30 and 15 Hz and an arm at 50 Hz, each with its own phase; every item says its time.

    A picture's value is its time in tenths of a second plus the take's number; ``lose`` are front pictures that are
    missing.
    """
    rates = {"observation.images.front": 30.0, "observation.images.wrist": 15.0}
    phases = {"observation.images.front": 0, "observation.images.wrist": 21_000_000}
    specs = [StreamSpec(name, (24, 32, 3), "uint8", rate_hz=rate) for name, rate in rates.items()]
    if arm:
        axes = ("a", "b")
        specs += [StreamSpec(name, (2,), "float32", "SI", 50.0, axes) for name in ("observation.state", "action")]
    info = TakeInfo(EpisodeKind.TELEOP if arm else EpisodeKind.HUMAN, "t", "t")
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(color_codec="lossless", sync=False))
    for spec in specs:
        gap = 0
        for k in range(round(seconds * spec.rate_hz)):
            t_ns = START + number * 10**12 + phases.get(spec.name, 7_000_000) + round(k * 1e9 / spec.rate_hz)
            if spec.name == "observation.images.front" and k in lose:
                gap += 1
                continue
            tenths = (t_ns - START - number * 10**12) / 1e8
            item = np.full(spec.shape, tenths + number if len(spec.shape) == 3 else tenths, np.dtype(spec.dtype))
            writer.append(spec.name, Frame(k, t_ns, t_ns, gap, item))
            gap = 0
    return writer.seal().id


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path)


def tenths(sample, number: int) -> float:
    return (sample.t_ns - START - number * 10**12) / 1e8


def test_every_item_of_a_window_is_the_newest_not_after_its_time(home: Home) -> None:
    ids = [make_take(home, number) for number in range(3)]
    reader = WindowReader(home, ids, SPEC)
    assert not reader.skipped
    for index in range(len(reader)):
        sample = reader[index]
        number = ids.index(sample.episode_id)
        now = tenths(sample, number)
        for camera, period in (("front", 10 / 30), ("wrist", 10 / 15)):
            for shown, at in zip(sample.pictures[camera], (now, now + 4), strict=True):
                age = at - (float(shown[0, 0, 0]) - number)
                assert -0.03 <= age <= period + 1.0, "pixels hold whole tenths, rounded down"
        assert now - 0.2 - 1e-3 <= sample.state[0] <= now + 0.021
        assert sample.actions.shape == (6, 2)
        last = sample.actions[:, 0]
        assert (np.diff(last) >= 0).all() and now + 0.79 <= last[0] <= now + 1.03


def test_rows_without_a_fresh_picture_are_left_out(home: Home) -> None:
    whole, holed = make_take(home, 0), make_take(home, 1, lose=range(30, 60))
    reader = WindowReader(home, [whole, holed], SPEC)
    times = {number: [] for number in (0, 1)}
    for index in range(len(reader)):
        sample = reader[index]
        times[int(sample.episode_id == holed)].append(tenths(sample, int(sample.episode_id == holed)))
    assert any(12.5 < t < 19 for t in times[0])
    assert not any(12.5 < t < 19 for t in times[1]), "the pictures between 1 s and 2 s are missing"
    assert not any(12.5 < t + 4 < 19 for t in times[1]), "nor may the later picture come from there"
    assert any(t < 5 for t in times[1]) and any(t > 20 for t in times[1])


def test_trim_marks_are_honoured_and_can_be_taken_back(home: Home) -> None:
    take = make_take(home, 0)
    everything = len(WindowReader(home, [take], SPEC))
    trim = {"start_ns": START + 10**9, "end_ns": START + 2 * 10**9}
    change_manifest(home.sealed(take), extra={"trim": trim})
    reader = WindowReader(home, [take], SPEC)
    assert 0 < len(reader) < everything
    assert all(trim["start_ns"] <= reader[k].t_ns + 2_000_000 for k in range(len(reader)))
    assert all(reader[k].t_ns + 400_000_000 <= trim["end_ns"] + 2_000_000 for k in range(len(reader)))


def test_what_cannot_be_used_is_counted_and_said(home: Home) -> None:
    good, short = make_take(home, 0), make_take(home, 1, seconds=0.3)
    broken = make_take(home, 2)
    for path in (home.sealed(broken) / "observation.state").glob("c.*"):
        path.unlink()
    reader = WindowReader(home, [good, short, broken, "0" * 32], SPEC)
    words = {"takes shorter than a window", "unreadable takes", "takes that are not there"}
    assert set(reader.skipped) == words and sum(reader.skipped.values()) == 3
    with pytest.raises(WorkbenchError, match="camera 'side'"):
        WindowReader(home, [good], dataclasses.replace(SPEC, cameras=("side",)))
    with pytest.raises(WorkbenchError, match="no take has a window"):
        WindowReader(home, [], SPEC)


def test_human_clips_have_pictures_and_no_numbers(home: Home) -> None:
    sample = WindowReader(home, [make_take(home, 0, arm=False)], SPEC)[3]
    assert sample.state.shape == (0,) and sample.actions.shape == (6, 0)
    assert sample.pictures["front"].shape == (2, 24, 32, 3)


def test_small_pictures_are_the_same_ones_reduced_and_kept(home: Home) -> None:
    take = make_take(home, 0)
    full = WindowReader(home, [take], SPEC)
    small = WindowReader(home, [take], dataclasses.replace(SPEC, small=(6, 8)))
    small.prepare()
    kept = list(home.cache.glob("pictures/8x6/*.npy"))
    assert len(kept) == 2
    for index in (0, 5, len(full) - 1):
        for camera in CAMERAS:
            expected = [reduced(picture, 6, 8) for picture in full[index].pictures[camera]]
            assert (small[index].pictures[camera] == np.stack(expected)).all()
    kept[0].write_bytes(b"broken")
    assert (WindowReader(home, [take], small.spec)[2].pictures["front"] == small[2].pictures["front"]).all()


def test_draws_depend_on_seed_and_step_alone(home: Home) -> None:
    reader = WindowReader(home, [make_take(home, 0)], SPEC)
    again = WindowReader(home, [reader[0].episode_id], SPEC)
    assert (reader.draw(7, 3, 50) == again.draw(7, 3, 50)).all()
    assert not (reader.draw(7, 3, 50) == reader.draw(7, 4, 50)).all()
    assert set(reader.draw(0, 0, 5000).tolist()) == set(range(len(reader)))


def _worker(data: bytes, indices: list[int], answers) -> None:
    reader = pickle.loads(data)
    answers.put([int(reader[k].pictures["wrist"].sum()) for k in indices])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_same(home: Home, method: str) -> None:
    reader = WindowReader(home, [make_take(home, n) for n in range(2)], SPEC)
    indices = reader.draw(1, 0, 12).tolist()
    here = [int(reader[k].pictures["wrist"].sum()) for k in indices]
    context = mp.get_context(method)
    answers = context.Queue()
    process = context.Process(target=_worker, args=(pickle.dumps(reader), indices, answers))
    process.start()
    assert answers.get(timeout=60) == here
    process.join(30)
    assert here == [int(reader[k].pictures["wrist"].sum()) for k in indices]


def test_a_forked_reader_opens_its_own_files(home: Home) -> None:
    reader = WindowReader(home, [make_take(home, 0)], SPEC)
    before = int(reader[4].pictures["front"].sum())
    child = os.fork()
    if child == 0:
        os._exit(0 if all(int(reader[4].pictures["front"].sum()) == before for _ in range(20)) else 1)
    seen = [int(reader[4].pictures["front"].sum()) for _ in range(20)]
    assert os.waitpid(child, 0)[1] == 0 and set(seen) == {before}


def test_memory_and_files_do_not_grow_with_what_was_read(home: Home) -> None:
    reader = WindowReader(home, [make_take(home, n) for n in range(12)], SPEC)
    process = psutil.Process()
    for k in range(len(reader)):
        reader[k]
    files, memory = process.num_fds(), process.memory_info().rss
    for k in range(3 * len(reader)):
        reader[(k * 37) % len(reader)]
    assert process.num_fds() <= files
    assert process.memory_info().rss - memory < 8 << 20


def test_a_take_in_the_trash_is_a_sentence(home: Home) -> None:
    take = make_take(home, 0)
    reader = WindowReader(home, [take], SPEC)
    move_take(home, take, to_trash=True)
    with pytest.raises(WorkbenchError):
        reader[0]


def test_broken_numbers_leave_their_rows_out(home: Home) -> None:
    specs = [
        StreamSpec("observation.images.front", (24, 32, 3), "uint8", rate_hz=10.0),
        StreamSpec("observation.state", (1,), "float32", "SI", 10.0, ("a",)),
    ]
    writer = EpisodeWriter.create(home, TakeInfo(EpisodeKind.TELEOP, "t", "t"), specs)
    for k in range(30):
        t_ns = START + k * 10**8
        writer.append(specs[0].name, Frame(k, t_ns, t_ns, 0, np.zeros((24, 32, 3), np.uint8)))
        writer.append(specs[1].name, Frame(k, t_ns, t_ns, 0, np.array([np.nan if k == 12 else k], np.float32)))
    reader = WindowReader(home, [writer.seal().id], dataclasses.replace(SPEC, cameras=("front",)))
    rows = {round((reader[k].t_ns - START) / 1e8) for k in range(len(reader))}
    assert rows == set(range(26)) - {8, 12}
    assert np.isfinite(np.stack([reader[k].state for k in range(len(reader))])).all()


@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=40),
    st.lists(st.integers(0, 3000), min_size=1, max_size=40),
    st.floats(0.02, 0.5),
)
def test_alignment_against_a_search_by_hand(first: list[int], second: list[int], step_s: float) -> None:
    a, b = (np.array(sorted(times), np.int64) * 1_000_000 for times in (first, second))
    grid = common_grid([a, b], step_s)
    assert (np.diff(grid) == round(step_s * 1e9)).all()
    index, fresh = fresh_items(b, grid, 30.0, step_s)
    for t_ns, at, good in zip(grid.tolist(), index.tolist(), fresh.tolist(), strict=True):
        earlier = [time for time in b.tolist() if time <= t_ns + 2_000_000]
        assert good == (bool(earlier) and abs(t_ns - earlier[-1]) <= 0.1e9 + step_s * 1e9)
        if good:
            assert b[at] == earlier[-1]


def test_derived_arrays_are_made_once_and_again_when_broken(tmp_path: Path) -> None:
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(6).reshape(2, 3)

    path = tmp_path / "a" / "b.npy"
    for _ in range(3):
        assert (derived(path, make) == np.arange(6).reshape(2, 3)).all()
    assert len(made) == 1
    assert derived(path, make, (2, 3)).shape == (2, 3) and len(made) == 1
    assert derived(path, lambda: np.zeros((1, 3)), (1, 3)).shape == (1, 3)
    path.write_bytes(path.read_bytes()[:-5])
    assert (derived(path, make) == np.arange(6).reshape(2, 3)).all() and len(made) == 2


def test_reducing_averages_whole_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 12, 3), dtype=np.uint8)
    small = reduced(picture, 3, 4)
    means = picture.reshape(3, 2, 4, 3, 3).mean(axis=(1, 3))
    assert small.shape == (3, 4, 3) and np.abs(small - means).max() <= 0.51
    assert (reduced(picture, 6, 12) == picture).all()
    with pytest.raises(WorkbenchError):
        reduced(picture, 7, 12)


def test_align_says_which_rows_have_no_picture(home: Home) -> None:
    with Episode.open(home, make_take(home, 0, lose=range(30, 60))) as episode:
        grid, index, state, actions = align(episode, CAMERAS, 0.1)
    assert (index[:, 0] < 0).sum() == pytest.approx(8, abs=2) and (index[:, 1] >= 0).all()
    assert len(grid) == len(state) == len(actions)
