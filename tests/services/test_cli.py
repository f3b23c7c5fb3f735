"""The command line as scripts see it: exit codes, one JSON object, one sentence, the nearest right word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.layout import Home
from tests.services.learnable import write_reach
from workbench import cli
from workbench.cli import build_parser, main
from workbench.core.errors import WorkbenchError
from workbench.services.machine import PROJECT


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of one command line in this process."""
    code = main([str(word) for word in words], lambda home, threads: 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in cli.VERBS:
        code, out, _ = run(capsys, verb.name, "--help")
        assert code == 0 and verb.help.split()[0] in out


def test_verbs_are_the_published_ones() -> None:
    """Others script against these words; a change must be meant."""
    recording = "demo record teleoperate replay calibrate episodes import export devices doctor"
    learning = "align train finetune models rollout serve bench"
    assert [verb.name for verb in cli.VERBS] == [*recording.split(), *learning.split()]


@pytest.mark.parametrize(
    ("words", "hint"),
    [(["dmeo"], "did you mean 'demo'"), (["record"], "--task"), (["train", "act_va"], ""), (["episodes"], "ACTION")],
)
def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str], words: list[str], hint: str) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2 and out == "" and hint in err


def test_common_flags_may_stand_on_either_side(home: Path) -> None:
    for words in (["--home", str(home), "--json", "devices"], ["devices", "--json", "--home", str(home)]):
        options = build_parser().parse_args(words)
        assert options.home == home and options.json is True


def test_json_is_the_last_and_only_line(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    code, out, _ = run(capsys, "devices", "--home", home, "--json")
    assert code == 0 and len(out.splitlines()) == 1
    assert set(json.loads(out)) == {"cameras", "arms", "teleops"}


def test_episodes_from_listing_to_undo(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    episode_id = write_reach(Home.open(home), 0).id

    def ask(*words: str) -> dict[str, object]:
        code, out, err = run(capsys, "episodes", *words, "--home", home, "--json")
        assert code == 0, err
        return json.loads(out)

    assert [take["id"] for take in ask("list")["episodes"]] == [episode_id]
    assert ask("show", episode_id[:20])["streams"]["action"]["items"] == 40
    ask("label", episode_id, "failure")
    assert ask("list", "--outcome", "failure")["episodes"]
    assert ask("verify")["problems"] == {}
    ask("delete", episode_id)
    assert ask("list")["episodes"] == []
    assert ask("undo")["undone"]
    assert ask("stats")["kinds"]["teleop"] == 1


def test_failures_are_exit_1_and_one_sentence(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    episode_id = write_reach(Home.open(home), 0).id
    wrong = episode_id[:-1] + ("0" if episode_id[-1] != "0" else "1")
    code, out, err = run(capsys, "episodes", "show", wrong, "--home", home)
    assert code == 1 and out == "" and episode_id in err and "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    code, out, _ = run(capsys, "episodes", "show", wrong, "--home", home, "--json")
    assert code == 1 and episode_id in json.loads(out)["error"]


def test_unknown_task_and_model_suggest_the_nearest(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    code, _, err = run(capsys, "record", "--task", "red_cube_to_white_plat", "--home", home)
    assert code == 1 and "red_cube_to_white_plate" in err
    code, _, err = run(capsys, "rollout", "--model", "nope", "--task", "x", "--home", home)
    assert code == 1 and "nope" in err and "Traceback" not in err


def test_unforeseen_errors_have_no_traceback_unless_asked(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_CATALOG_URL", "nonsense://")
    code, _, err = run(capsys, "episodes", "list", "--home", home)
    assert code == 1 and "Traceback" not in err
    code, _, err = run(capsys, "episodes", "list", "--home", home, "--debug")
    assert code == 1 and "Traceback" in err


def test_no_verb_opens_the_window(home: Path) -> None:
    opened = []
    assert main(["--home", str(home), "--threads"], lambda *values: opened.append(values) or 0) == 0
    assert opened == [(home, True)]


def test_no_display_is_a_sentence(home: Path) -> None:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    line = [sys.executable, "main.py", "--home", str(home)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "no screen" in done.stderr


def test_a_home_that_cannot_be_made_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(capsys, "episodes", "list", "--home", tmp_path / "file" / "home")
    assert code == 1 and str(tmp_path / "file") in err and "--home" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, _, err = run(capsys, "episodes", "list", "--home", tmp_path / "home")
    assert code == 1 and "--home" in err


def test_interruption_is_a_sentence(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    def interrupted(root: Path, threads: bool) -> int:
        raise KeyboardInterrupt

    assert main(["--home", str(home)], interrupted) == 1
    assert "Interrupted" in capsys.readouterr().err


def test_a_failing_window_is_a_sentence(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    def broken(root: Path, threads: bool) -> int:
        raise WorkbenchError("the window is broken", "Mend it")

    assert main(["--home", str(home)], broken) == 1
    assert "The window is broken. Mend it." in capsys.readouterr().err


def test_the_program_file_works_and_loads_neither_window_nor_torch(home: Path) -> None:
    script = (
        "import sys, runpy; sys.argv = ['main.py', 'devices', '--json', '--home', sys.argv[1]]\n"
        "try:\n    runpy.run_path('main.py', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "print([name for name in ('PyQt6', 'torch', 'ui.app') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(home)], capture_output=True, text=True, cwd=PROJECT)
    lines = done.stdout.splitlines()
    assert json.loads(lines[0])["cameras"], done.stderr
    assert lines[1] == "[]"
