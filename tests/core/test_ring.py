from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import WorkbenchError
from workbench.core.ring import Ring, runtime_directory, sweep_runtime_directory
from workbench.core.types import StreamSpec

VECTOR = StreamSpec("observation.state", (5,), "float32", "SI", 10.0, ("a", "b", "c", "d", "e"))


def write(ring: Ring, number: int) -> int:
    data = np.full(ring.spec.shape, number % 251, ring.spec.dtype)
    return ring.write(data, sequence=number, t_device_ns=10 * number, t_host_ns=10 * number + 1, gap_before=number % 3)


@given(
    shape=st.sampled_from([(1,), (3,), (4, 5), (2, 3, 3)]),
    dtype=st.sampled_from(["uint8", "uint16", "float32", "float64", "int64"]),
    slots=st.integers(1, 9),
    steps=st.lists(st.one_of(st.just("write"), st.integers(-3, 30)), max_size=60),
)
def test_a_ring_is_a_list_that_forgets(tmp_path_factory, shape, dtype, slots, steps):
    """Against a model: reading index i gives exactly what was written there, for the last ``slots`` items only."""
    path = tmp_path_factory.mktemp("ring") / "stream"
    ring = Ring.create(path, StreamSpec("s", shape, dtype), slots)
    reader = Ring.attach(path)
    model: list[int] = []
    try:
        for step in steps:
            if step == "write":
                assert write(ring, len(model) * 7) == len(model)
                model.append(len(model) * 7)
                continue
            frame = reader.read(step)
            if not max(0, len(model) - slots) <= step < len(model):
                assert frame is None
                continue
            assert (frame.sequence, frame.t_device_ns, frame.gap_before) == (model[step], 70 * step, model[step] % 3)
            assert frame.data.shape == shape and frame.data.dtype == dtype
            assert np.all(frame.data == model[step] % 251)
        newest = reader.latest()
        assert (newest.sequence if newest else None) == (model[-1] if model else None)
        assert reader.written == len(model)
        assert reader.newest_host_ns() == (10 * model[-1] + 1 if model else 0)
    finally:
        reader.close()
        ring.close()


def test_the_reader_learns_the_stream_from_the_file(tmp_path):
    ring = Ring.create(tmp_path / "s", VECTOR)
    reader = Ring.attach(tmp_path / "s")
    assert reader.spec == VECTOR
    assert reader.slots == ring.slots == 20  # two seconds at 10 Hz
    reader.close()
    ring.close()


def test_a_frame_does_not_change_when_its_slot_is_used_again(tmp_path):
    ring = Ring.create(tmp_path / "s", VECTOR, 2)
    write(ring, 1)
    frame = ring.read(0)
    write(ring, 2), write(ring, 3)
    assert np.all(frame.data == 1)
    assert ring.read(0) is None
    ring.close()


def test_ack_travels_to_the_writer(tmp_path):
    ring = Ring.create(tmp_path / "s", VECTOR)
    reader = Ring.attach(tmp_path / "s")
    assert ring.acked == 0
    reader.ack(7)
    assert ring.acked == 7
    reader.close()
    ring.close()


def test_only_the_owner_removes_the_file_and_closing_twice_is_fine(tmp_path):
    path = tmp_path / "s"
    ring = Ring.create(path, VECTOR)
    reader = Ring.attach(path)
    reader.close()
    reader.close()
    assert path.exists()
    ring.close()
    ring.close()
    assert not path.exists()


def test_a_closed_ring_has_nothing_more_to_read(tmp_path):
    ring = Ring.create(tmp_path / "s", VECTOR)
    write(ring, 1)
    ring.close()
    assert ring.latest() is None
    assert ring.read(0) is None
    assert (ring.written, ring.newest_host_ns()) == (0, 0)


def test_a_reader_in_another_thread_survives_closing(tmp_path):
    ring = Ring.create(tmp_path / "s", VECTOR, 8)
    write(ring, 1)
    failures: list[BaseException] = []
    stop = threading.Event()

    def look() -> None:
        try:
            while not stop.is_set():
                ring.latest()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    [thread.start() for thread in threads]
    time.sleep(0.05)
    ring.close()
    time.sleep(0.02)
    stop.set()
    [thread.join() for thread in threads]
    assert failures == []


def test_attaching_to_nothing_says_what_to_do(tmp_path):
    with pytest.raises(WorkbenchError, match=r"not running.*Start the station"):
        Ring.attach(tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"abc", bytes(4096), b"x" * 9000])
def test_attaching_to_something_else_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(WorkbenchError, match="not a stream ring"):
        Ring.attach(path)


def test_a_second_writer_is_refused(tmp_path):
    ring = Ring.create(tmp_path / "s", VECTOR)
    with pytest.raises(FileExistsError):
        Ring.create(tmp_path / "s", VECTOR)
    ring.close()


def test_a_ring_larger_than_the_disk_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(WorkbenchError, match="no shared memory"):
        Ring.create(tmp_path / "s", StreamSpec("s", (1 << 44,), "uint8"), 100)
    assert not (tmp_path / "s").exists()


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from workbench.core.ring import Ring
ring = Ring.attach(Path(sys.argv[1]))
end, number = time.monotonic() + float(sys.argv[2]), 0
data = np.empty(ring.spec.shape, ring.spec.dtype)
while time.monotonic() < end:
    data[...] = number
    ring.write(data, sequence=number, t_device_ns=number, t_host_ns=number)
    number += 1
print(number)
"""


def test_no_torn_item_while_another_process_writes_flat_out(tmp_path):
    """The writer fills every item with its own number: a mixed item would show two numbers."""
    ring = Ring.create(tmp_path / "s", StreamSpec("s", (120, 160), "int64"), 2)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(ring.path), "1.5"], stdout=subprocess.PIPE, env=environment, text=True
    )
    whole = missed = 0
    try:
        while writer.poll() is None:
            frame = ring.read(ring.written - 1)
            if frame is None:
                missed += 1
                continue
            assert frame.data.min() == frame.data.max() == frame.sequence == frame.t_device_ns
            whole += 1
        written = int(writer.communicate()[0])
    finally:
        writer.kill()
        writer.wait()
    assert ring.written == written
    assert written > 100 and whole > 100
    ring.close()


def test_only_dead_processes_folders_are_swept():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    base = runtime_directory()
    dead, alive, stray = base / f"{gone.pid}-test", base / f"{os.getpid()}-test", base / f"{gone.pid}-file"
    (dead / "deeper").mkdir(parents=True)
    (dead / "deeper" / "ring").write_bytes(b"x")
    alive.mkdir()
    stray.write_bytes(b"not a folder")
    try:
        assert sweep_runtime_directory() >= 1
        assert not dead.exists()
        assert alive.exists()
    finally:
        alive.rmdir()
        stray.unlink()


def test_the_runtime_directory_is_private():
    assert runtime_directory().stat().st_mode & 0o077 == 0
