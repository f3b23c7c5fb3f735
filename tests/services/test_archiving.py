"""`episodes archive` and `bench codecs` through the command line, over real takes."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from storage.archive_swap import original_folder
from storage.catalog import Catalog
from storage.layout import Home
from storage.recoding import ArchiveSettings
from storage.records import ModelEntry
from tests.storage.test_archive import COLOR, STATE, record
from workbench.cli import main
from workbench.core.types import EpisodeKind
from workbench.services.archiving import archive_settings, due_for_archive
from workbench.services.library import Library
from workbench.services.settings import Settings, simulated_settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def run(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    code = main(["--home", str(home.path), "episodes", "archive", *words, "--json"], lambda *_: 3)
    return code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_archive_and_undo_keep_one_take_in_the_catalogue(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    takes = [record(home, 11, (COLOR, STATE)) for _ in range(2)]
    code, told = run(home, capsys, "--older-than", "0", "--dry-run")
    assert code == 0 and set(told["would"]) == {take.id for take in takes}
    assert not original_folder(home, takes[0].id).exists()
    assert run(home, capsys, "--older-than", "1")[1]["archived"] == []
    code, told = run(home, capsys, takes[0].id)
    assert code == 0 and [report["episode_id"] for report in told["archived"]] == [takes[0].id]
    assert told["bytes_after"] < told["bytes_before"]
    with Library(home.path) as library:
        assert len(library.episodes()) == 2 and library.episodes(trashed=True) == ()
        entry = library.find(takes[0].id)
        assert entry.content_hash != takes[0].content_hash
        assert entry.extra["archive"]["original_hash"] == takes[0].content_hash
        assert library.open(takes[0].id).verify() == ()
        assert due_for_archive(library.episodes(kind=EpisodeKind.TELEOP), 0) == [takes[1].id]
    with Catalog(home) as catalog:
        learnt = [(takes[0].id, takes[0].content_hash), (takes[1].id, "0" * 64)]
        catalog.lineage.enter_model(ModelEntry("m", "rf"), learnt)
        assert [use.state for use in catalog.lineage.takes_of("m")] == ["here", "changed"], "archived is not changed"
    assert run(home, capsys, takes[0].id)[0] == 1
    code, told = run(home, capsys, "--undo", takes[0].id)
    assert code == 0 and told["restored"] == [takes[0].id]
    with Library(home.path) as library:
        assert library.find(takes[0].id).content_hash == takes[0].content_hash


def test_it_must_be_clear_which_takes_are_meant(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("x", "--older-than", "3")):
        code, told = run(home, capsys, *words)
        assert code == 1 and "which takes" in told["error"]


def test_ctrl_c_keeps_what_is_done(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import workbench.services.archiving as service

    takes = sorted(record(home, 11, (COLOR, STATE)).id for _ in range(2))
    real = service.archive_take

    def interrupted(home_: Home, episode_id: str, settings: ArchiveSettings, progress: object) -> object:
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        return real(home_, episode_id, settings, stop if episode_id == takes[1] else progress)

    monkeypatch.setattr(service, "archive_take", interrupted)
    code, told = run(home, capsys, *takes)
    assert code == 1 and "Interrupted" in told["error"]
    with Library(home.path) as library:
        assert ["archive" in library.find(take).extra for take in takes] == [True, False]
        assert all(library.open(take).verify() == () for take in takes)


def test_settings_reach_the_archive() -> None:
    assert archive_settings(simulated_settings()) == ArchiveSettings()
    changed = Settings(archive={"crf": 25, "least_ssim": 0.8})
    assert archive_settings(changed) == ArchiveSettings(crf=25, least_ssim=0.8)


def test_times_without_a_past_are_not_due(home: Home) -> None:
    manifest = record(home, 6, (STATE,))
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(manifest.started_at)
    with Library(home.path) as library:
        assert due_for_archive(library.episodes(), age.total_seconds() / 86400 + 1) == []
        assert due_for_archive(library.episodes(), 0) == [manifest.id]


@pytest.mark.slow
def test_codecs_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--home", str(tmp_path), "bench", "codecs", "--quick", "--json"], lambda *_: 3)
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert code == 0 and {"machine", "versions", "seed", "command"} <= set(told)
    assert all(figures["exact"] for figures in told["depth"].values())
    archive = told["color"]["h264 crf 19 pieces of 12 (archive)"]
    assert archive["bytes"] < 15_000 and archive["psnr_db"] > 36 and archive["ssim"] > 0.95
    assert archive["bytes"] < told["color"]["jpeg 95 (capture)"]["bytes"] / 4
