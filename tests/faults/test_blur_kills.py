"""Blurring killed with SIGKILL at every stage: the take as it was is never lost, and what is in use is whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.blurring import blurred_of, look_for_faces
from storage.catalog import Catalog
from storage.doctor import examine
from storage.episode import Episode
from storage.layout import Home
from tests.storage.face_pictures import KnowsFaces, record

ROOT = Path(__file__).parents[2]

BLUR = """
import sys
from pathlib import Path
import storage.steps
from storage.blurring import look_for_faces
from storage.catalog import Catalog
from storage.episode import Episode
from storage.layout import Home
from tests.storage.face_pictures import KnowsFaces

home, episode_id, stage = Home.open(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
ticks, moves = 0, 0

def halt(name):
    if name == stage:
        print(name, flush=True)
        sys.stdin.read()

def tick(pictures):
    global ticks
    ticks += pictures
    halt(f"picture {ticks}")

real = storage.steps.move_take

def move(*values, **named):
    global moves
    halt(f"before move {moves}")
    real(*values, **named)
    halt(f"after move {moves}")
    moves += 1

storage.steps.move_take = move
with Episode.open(home, episode_id) as take:
    found = look_for_faces(take, KnowsFaces(), lambda _pictures: None)
with Catalog(home) as catalog:
    catalog.blur(found, tick)
"""


STAGES = ["picture 40", "after move 0"]
MORE = ["picture 1", "picture 75", "before move 0", "before move 1", "after move 1"]


@pytest.mark.parametrize("stage", [*STAGES, *(pytest.param(stage, marks=pytest.mark.slow) for stage in MORE)])
def test_a_killed_blurring_loses_nothing(tmp_path: Path, stage: str) -> None:
    home = Home.open(tmp_path / "home")
    whole = record(home)
    process = subprocess.Popen(
        [sys.executable, "-c", BLUR, str(home.path), whole.id, stage],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        assert process.stdout.readline().strip() == stage, process.stderr.read()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    examine(home, fix=True)
    assert examine(home, deep=True).clean
    with Catalog(home) as catalog:
        catalog.sync()
        known = {record.id: record for trashed in (False, True) for record in catalog.episodes(trashed=trashed)}
        in_use = [record for record in known.values() if not record.trashed]
        assert in_use and whole.id in known
        with Episode.open(home, whole.id, trashed=known[whole.id].trashed) as take:
            assert take.verify() == [] and take.manifest.content_hash == whole.content_hash
        for other in known.values():
            if other.id != whole.id:
                found = blurred_of(other.extra)
                assert found is not None and found.episode_id == whole.id and found.pictures > 0
        if not known[whole.id].trashed:
            with Episode.open(home, whole.id) as take:
                again = look_for_faces(take, KnowsFaces(), lambda _pictures: None)
            catalog.blur(again)
            assert catalog.episode(whole.id).trashed
