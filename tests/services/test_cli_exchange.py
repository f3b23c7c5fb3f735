"""The verbs import and export, as typed, and every such command of the documentation."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from storage.layout import Home
from tests.storage.foreign import bridge_set, write_clip
from tests.storage.test_lerobot_export import record
from workbench import cli
from workbench.services import exchange
from workbench.services.library import Library

DOCS = Path(__file__).parents[2] / "docs"
TYPED = re.compile(r"^python main\.py ((?:import|export) .*)$", re.M)


def run(capsys: pytest.CaptureFixture[str], home: Path, *words: str, code: int = 0) -> dict[str, object]:
    capsys.readouterr()
    done = cli.main(["--json", "--home", str(home), *words], lambda *_: pytest.fail("a verb opened the window"))
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done == code, found
    return found


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two labelled, tagged and collected takes."""
    path = tmp_path_factory.mktemp("station")
    home = Home.open(path)
    ids = [record(home, 1), record(home, 3)]
    with Library(path) as library:
        library.tag(ids, ["good"])
        library.collect("first week", ids)
    return path


def commands() -> list[str]:
    return [text for page in ("importing.md", "exporting.md") for text in TYPED.findall((DOCS / page).read_text())]


@pytest.mark.parametrize("text", sorted(set(commands())))
def test_every_command_of_the_pages_works(
    text: str, station: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(commands()) >= 9
    words = shlex.split(text.replace(" #", "\0").partition("\0")[0])
    write_clip(tmp_path / "clips" / "fold_cloth" / "a.mp4", range(0, 400, 40))
    source = bridge_set(tmp_path, 1, "kitchen") if "--rate" in words else tmp_path / "clips"
    with Library(station) as library:
        take, task = library.episodes()[0].id[:20], library.episodes()[0].task
    meant = {"PATH": str(source), "DEST": str(tmp_path / "out"), "TAKE": take, "red_cube_to_white_plate": task}
    found = run(capsys, station if words[0] == "export" else tmp_path / "home", *(meant.get(w, w) for w in words))
    if "--dry-run" in words:
        assert found["dry_run"] is True and not (tmp_path / "out").exists()
        assert not list((tmp_path / "home").glob("episodes/*"))
    elif words[0] == "import":
        assert len(found["episodes"]) == 1 and found["skipped"] == []  # type: ignore[arg-type]
    else:
        assert found["episodes"] == (1 if "--episodes" in words else 2) and (tmp_path / "out").is_dir()


def test_a_dry_run_tells_everything_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "clips" / "fold_cloth" / "a.mp4", range(0, 1000, 40))
    (tmp_path / "clips" / "bad.mov").write_text("no video")
    told = run(capsys, tmp_path / "home", "import", str(tmp_path / "clips"), "--dry-run")
    assert (told["format"], told["new"], told["known"], told["broken"], told["fits"]) == ("videos", 1, 0, 1, True)
    bad, good = told["takes"]  # type: ignore[misc]
    assert bad["problem"] and good["task"] == "fold_cloth" and good["kind"] == "human"
    assert good["seconds"] == pytest.approx(1.0, abs=0.05) and good["streams"] == ["observation.images.front"]
    brought = run(capsys, tmp_path / "home", "import", str(tmp_path / "clips"))
    assert len(brought["episodes"]) == 1 and brought["skipped"][0][0] == "bad.mov"  # type: ignore[arg-type,index]
    assert run(capsys, tmp_path / "home", "import", str(tmp_path / "clips"), "--dry-run")["known"] == 1


def test_a_refusal_is_one_sentence(station: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    told = run(capsys, station, "export", str(tmp_path / "out"), "--format", "clap", code=1)
    assert "exists already" in str(told["error"])
    told = run(capsys, station, "export", str(tmp_path / "new"), "--format", "clap", "--task", "none", code=1)
    assert "no take fits" in str(told["error"]).lower()
    told = run(capsys, station, "import", str(tmp_path / "nowhere"), code=1)
    assert "Check the path" in str(told["error"])


def test_without_room_nothing_is_begun(
    station: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "free_at", lambda target: 1000)
    told = run(capsys, station, "export", str(tmp_path / "out"), "--format", "lerobot", code=1)
    assert "GB left" in str(told["error"]) and not list(tmp_path.iterdir())
    monkeypatch.setattr(Home, "free_bytes", lambda self: 1000)
    clip = write_clip(tmp_path / "a.mp4", [0, 40])
    told = run(capsys, tmp_path / "home", "import", str(clip))
    assert told["episodes"] == [] and "nearly full" in told["skipped"][0][1]  # type: ignore[index]
