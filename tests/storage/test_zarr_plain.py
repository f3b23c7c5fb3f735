"""A take is readable without this program: zarr, and the few files that hold our codecs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage.archive import archive_take
from storage.episode import Episode
from storage.layout import Home
from tests.storage.test_archive import COLOR, DEEP, FAST, STATE, record

ROOT = Path(__file__).parents[2]
CODECS = ("__init__", "zarr_base", "zarr_jpeg", "zarr_jxl", "zarr_video", "video_bytes")
ASIDE = """
import sys
rooms = ("workbench", "storage", "hardware", "models", "ui")
ours = sorted(name for name in sys.modules if name.split(".")[0] in rooms)
import numpy
numpy.savez(OUT, picture=picture, depth=depth, state=state, seconds=seconds, first=first_picture, ours=ours)
"""


@pytest.mark.parametrize("archived", [False, True])
def test_the_example_in_the_documentation_reads_a_take(home: Home, tmp_path: Path, archived: bool) -> None:
    manifest = record(home, 12, (COLOR, DEEP, STATE))
    if archived:
        assert archive_take(home, manifest.id, FAST).changed
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/format.md").read_text(), re.M | re.S)
    assert len(example.strip().splitlines()) <= 15
    alone = tmp_path / "alone"
    (alone / "storage").mkdir(parents=True)
    for name in CODECS:
        shutil.copy(ROOT / "storage" / f"{name}.py", alone / "storage")
    start = (
        f"import sys\nsys.path.insert(0, {str(alone)!r})\nPATH = {str(home.sealed(manifest.id))!r}\nOUT = 'out.npz'\n"
    )
    command = [sys.executable, "-I", "-W", "ignore", "-c", start + example + ASIDE]
    done = subprocess.run(command, cwd=alone, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert manifest.task in done.stdout
    found = np.load(alone / "out.npz")
    with Episode.open(home, manifest.id) as take:
        np.testing.assert_array_equal(found["picture"], take.read(COLOR.name, 10))
        np.testing.assert_array_equal(found["depth"], take.read(DEEP.name, 10))
        np.testing.assert_array_equal(found["state"], take.vectors(STATE.name))
        np.testing.assert_array_equal(found["first"], take.read(COLOR.name, int(take.row_index(COLOR.name)[0])))
        assert len(found["seconds"]) == take.manifest.rows
    assert set(found["ours"]) == {"storage", *(f"storage.{name}" for name in CODECS if name != "__init__")}


def test_the_codecs_are_found_by_their_entry_points() -> None:
    """What an installed package tells zarr must name classes that are there and call themselves so."""
    import importlib
    import tomllib

    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["zarr.codecs"]
    assert set(told) == {"clap.jpeg", "clap.jxl", "clap.video"}
    for name, place in told.items():
        module, _, kind = place.partition(":")
        assert name == getattr(importlib.import_module(module), kind).NAME
