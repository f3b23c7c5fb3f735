"""What the journal says after any torn end, any damaged line, and any order in which a power cut lets blocks arrive."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.journal import BlockSum, JournalState, JournalWriter, claimed, is_being_written, read_journal
from workbench.core.errors import CorruptTakeError

Block = tuple[int, int, int, int]  # new items of a and b, gap before the first new one of a, checksum


blocks_of = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3), st.integers(0, 2**32 - 1)),
    min_size=1,
    max_size=12,
)


def write(path: Path, blocks: list[Block]) -> list[JournalState]:
    """Write blocks as a recorder does; returns what the journal must say after each line, the empty one first."""
    path.unlink(missing_ok=True)
    writer = JournalWriter(path, sync=False)
    counts = {"a": 0, "b": 0}
    states = [JournalState(dict(counts), {}, {}, [dict(counts)])]
    writer.append(counts, [])
    for more_a, more_b, gap, crc in blocks:
        last = states[-1]
        gaps = [("a", counts["a"], gap)] if gap and more_a else []
        first = dict(counts)
        counts = {"a": counts["a"] + more_a, "b": counts["b"] + more_b}
        sums = {"b.t_host_ns": (first["b"], crc)} if more_b else {}
        writer.append(counts, gaps, sums)
        known = {name: list(found) for name, found in last.gaps.items()}
        for name, index, missing in gaps:
            known.setdefault(name, []).append((index, missing))
        blocksums = {name: list(found) for name, found in last.sums.items()}
        for name, (start, value) in sums.items():
            blocksums.setdefault(name, []).append(BlockSum(start, counts["b"], value))
        states.append(JournalState(dict(counts), known, blocksums, [*last.history, dict(counts)]))
    writer.close()
    return states


@given(blocks=blocks_of, data=st.data())
def test_any_torn_end_gives_the_last_whole_line(tmp_path: Path, blocks: list[Block], data: st.DataObject) -> None:
    path = tmp_path / "journal.jsonl"
    states = write(path, blocks)
    whole = path.read_bytes()
    assert read_journal(path) == states[-1]
    cut = data.draw(st.integers(0, len(whole)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 7, b"\xff{", whole[:3]]))
    path.write_bytes(whole[:cut] + tail)
    found = read_journal(path)
    lines = whole[:cut].count(b"\n") + (cut < len(whole) and whole[cut : cut + 1] == b"\n" and not tail)
    if lines == 0:
        assert not any(found.counts.values())
        return
    assert (found.counts, found.gaps, found.sums) == (
        states[lines - 1].counts,
        states[lines - 1].gaps,
        states[lines - 1].sums,
    )


@given(blocks=blocks_of, data=st.data())
def test_one_damaged_byte_costs_at_most_its_own_line(tmp_path: Path, blocks: list[Block], data: st.DataObject) -> None:
    path = tmp_path / "journal.jsonl"
    states = write(path, blocks)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
    path.write_bytes(whole[:at] + changed + whole[at + 1 :])
    found = read_journal(path)
    line = whole[:at].count(b"\n")
    assert found.torn or found.damaged, "it is noticed"
    if line < len(states) - 1:
        halves = [line + 1, line + 2] if changed == b"\n" else [line + 1]
        assert found.damaged == halves and not found.torn
        assert found.counts == states[-1].counts and found.gaps == states[-1].gaps
    else:
        assert found.counts in (states[-1].counts, states[-2].counts if line else {})


@given(blocks=blocks_of, data=st.data())
def test_blocks_that_never_arrived_are_never_invented(tmp_path: Path, blocks: list[Block], data: st.DataObject) -> None:
    """Without waiting for the disk, a power cut may keep any part of the file: the rest reads as zeros."""
    path = tmp_path / "journal.jsonl"
    states = write(path, blocks)
    whole = bytearray(path.read_bytes())
    for at in range(0, len(whole), 64):
        if data.draw(st.booleans()):
            whole[at : at + 64] = b"\0" * len(whole[at : at + 64])
    path.write_bytes(whole)
    found = read_journal(path)
    assert not found.counts or found.counts in [state.counts for state in states]
    for name, gaps in found.gaps.items():
        assert set(gaps) <= set(states[-1].gaps.get(name, []))
    for name, sums in found.sums.items():
        assert set(sums) <= set(states[-1].sums.get(name, []))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_journal_or_a_clear_error(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(raw)
    assert read_journal(path).counts == {}


def test_a_journal_that_takes_something_back_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter(path, sync=False)
    writer.append({"a": 5}, [])
    writer.append({"a": 4}, [])
    writer.close()
    with pytest.raises(CorruptTakeError, match="takes back"):
        read_journal(path)


def test_a_line_that_failed_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    path = tmp_path / "journal.jsonl"
    writer = JournalWriter(path, sync=True)
    writer.append({"a": 1}, [])
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        writer.append({"a": 1000000}, [("a", 5, 12345)])
    monkeypatch.undo()
    writer.append({"a": 2}, [])
    writer.close()
    state = read_journal(path)
    assert state.counts == {"a": 2} and state.gaps == {} and not state.torn and not state.damaged


def test_one_writer_or_doctor_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter(path, sync=False)
    with claimed(path) as mine:
        assert not mine and is_being_written(path)
    writer.close()
    with claimed(path) as mine, claimed(path) as second:
        assert mine and not second and is_being_written(path)
    assert not is_being_written(path)
    with claimed(tmp_path / "none") as mine:
        assert mine
