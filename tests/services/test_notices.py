"""What the window said stays readable: in order, bounded, across sessions, whatever the disk does."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.services.notices import ALARMING, NoticeLog, read_notices

tones = st.sampled_from(["bad", "warn", "hint", "good", "busy"])


def written(home: Path) -> list[str]:
    return [notice.what for notice in read_notices(home / "logs" / "notices.jsonl")]


def test_a_later_session_reads_what_an_earlier_one_said(tmp_path: Path) -> None:
    first = NoticeLog(tmp_path)
    first.add("bad", "capture", "camera front is gone", "Plug it in")
    first.add("good", "record", "Saved: 3 s")
    first.close()
    second = NoticeLog(tmp_path)
    second.add("warn", "drive", "slow")
    second.close()
    found = second.newest()
    assert [notice.what for notice in found] == ["slow", "Saved: 3 s", "camera front is gone"]
    assert found[2].next_step == "Plug it in" and second.unread == 1, "old ones are not news"


def test_what_two_parts_tell_in_the_same_words_is_one_notice(tmp_path: Path) -> None:
    log = NoticeLog(tmp_path)
    log.add("bad", "capture", "the disk is full.")
    log.add("bad", "record", "The disk is full", "Free space")
    log.add("good", "record", "the disk is full")
    log.close()
    assert [(n.tone, n.times, n.next_step) for n in log.newest()] == [("good", 1, ""), ("bad", 2, "Free space")]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(tones, st.text(min_size=1, max_size=30)), max_size=60), st.integers(0, 60))
def test_unread_counts_exactly_what_is_alarming_and_new(said: list[tuple[str, str]], looked_after: int) -> None:
    log = NoticeLog(Path("/dev/null"), kept=100)  # a disk that refuses: memory serves on
    numbers = set()
    for place, (tone, what) in enumerate(said):
        if place == looked_after:
            log.mark_read()
            numbers.clear()
        before = {notice.number for notice in log.newest()}
        notice = log.add(tone, "here", what)
        if tone in ALARMING and notice.number not in before:
            numbers.add(notice.number)
    assert log.unread == len(numbers)
    log.close()


def test_memory_and_file_stay_bounded_and_the_newest_survive(tmp_path: Path) -> None:
    log = NoticeLog(tmp_path, kept=50, most_bytes=20_000)
    for number in range(2000):
        log.add("bad", "test", f"failure number {number}")
    log.close()
    assert len(log.newest()) == 50 and log.newest()[0].what == "failure number 1999"
    assert (tmp_path / "logs" / "notices.jsonl").stat().st_size <= 20_000
    assert written(tmp_path)[-1] == "failure number 1999"


def test_lines_that_a_crash_or_a_stranger_left_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "notices.jsonl"
    path.parent.mkdir()
    good = json.dumps({"when": "2026-01-01T00:00:00+00:00", "tone": "bad", "where": "a", "what": "b"})
    path.write_bytes(b'{"half\n[1]\n\xff\xfe\n{"when": 3, "tone": "bad", "where": "a", "what": "b"}\n' + good.encode())
    log = NoticeLog(tmp_path)
    log.close()
    assert [notice.what for notice in log.newest()] == ["b"]


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    log = NoticeLog(tmp_path, kept=1000)
    threads = [
        threading.Thread(target=lambda n=n: [log.add("warn", "t", f"{n} {k}") for k in range(50)]) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(set(written(tmp_path))) == 400
    assert log.unread == 400
