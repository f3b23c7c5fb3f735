"""Every shell command in README and docs: cheap ones run, long ones must at least be understood."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.cli import build_parser, main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)

# Verbs that take seconds and need neither takes nor models: they are run as written, on an empty data folder.
CHEAP = (
    ("doctor",),
    ("devices",),
    ("episodes", "list"),
    ("episodes", "stats"),
    ("episodes", "collections"),
    ("episodes", "events"),
    ("episodes", "undo"),
    ("episodes", "redo"),
    ("episodes", "purge", "--confirm"),
    ("episodes", "verify"),
    ("models", "list"),
    ("models", "encoders"),
    ("--help",),
)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                text = line.split(" #", 1)[0].strip()
                if text:
                    found.append((page.name, text))
    return found


COMMANDS = commands()
OURS = [text for _, text in COMMANDS if text.startswith("python main.py")]


def words_of(text: str) -> list[str]:
    return shlex.split(text)[2:]


def is_cheap(words: list[str]) -> bool:
    return any(tuple(words[: len(start)]) == start for start in CHEAP)


def test_the_pages_have_commands_of_every_kind():
    assert any(text.startswith("make ") for _, text in COMMANDS)
    assert any(is_cheap(words_of(text)) for text in OURS)
    assert any(not is_cheap(words_of(text)) for text in OURS)


def test_no_page_uses_a_command_that_nobody_checks():
    known = ("make ", "python main.py", "git clone ", "cd ", ".venv/bin/python -m pip install ", "export ")
    assert [entry for entry in COMMANDS if not entry[1].startswith(known)] == []


@pytest.mark.parametrize("text", sorted(set(OURS)))
def test_the_program_understands_the_command(text):
    words = words_of(text)
    if "--help" in words:
        with pytest.raises(SystemExit) as stop:
            build_parser().parse_args(words)
        assert stop.value.code == 0
    else:
        build_parser().parse_args(words)


@pytest.mark.parametrize("text", sorted({text for text in OURS if is_cheap(words_of(text)) and "--help" not in text}))
def test_a_cheap_command_does_what_it_says(text, tmp_path, capsys):
    words = [word for word in words_of(text) if word != "--home" and not word.startswith("/tmp/")]
    assert main(["--home", str(tmp_path / "home"), *words], lambda *_: pytest.fail("a verb opened the window")) == 0
    output = capsys.readouterr()
    assert output.out.strip()
    assert "error" not in output.err


def test_the_program_starts_without_a_home_folder_or_a_display(tmp_path):
    """As on a fresh machine: one real process, nothing in its environment."""
    done = subprocess.run(
        [sys.executable, "main.py", "--json", "--home", str(tmp_path / "data"), "doctor"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path / "empty"), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["checks"]
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("text", sorted({text for _, text in COMMANDS if text.startswith("make ")}))
def test_make_knows_the_target(text):
    words = shlex.split(text)
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
