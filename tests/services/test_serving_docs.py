"""The page about policies on other computers: its settings load, its table is whole, its commands are understood."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from models.exchange.presets import LAYOUTS
from workbench.cli import build_parser, main
from workbench.services.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "remote.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


COMMANDS = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]


@pytest.mark.parametrize("text", blocks("toml"))
def test_settings_on_the_page_load(text: str) -> None:
    policy = Settings(**tomllib.loads(text)).policy
    assert policy.names().actions and policy.url.startswith("ws")


def test_the_table_lists_every_layout() -> None:
    assert set(re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE)) == set(LAYOUTS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    assert build_parser().parse_args(shlex.split(command)[2:]).run


def test_strangers_are_refused_before_a_model_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", str(tmp_path), "serve", "--model", "x", "--host", "0.0.0.0"]
    assert main(words, lambda _home, _threads: 0) == 1
    assert "without a token the policy is served to this computer only" in capsys.readouterr().err.lower()
    assert main([*words[:5], "--token", "short"], lambda _home, _threads: 0) == 1
