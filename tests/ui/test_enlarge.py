"""Larger letters: kept, drawn from the next start on, and never larger than the screen has room for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ui.sentences import ROOT
from ui.enlarge import SIZE, SIZES, size_choice
from ui.preferences import Preferences

_STARTED = """
import sys
from pathlib import Path
from ui.enlarge import fits, make_application
from ui.preferences import Preferences

application = make_application(Preferences(Path(sys.argv[1])))
screen = application.primaryScreen()
print(screen.size().width(), *(percent for percent in (100, 125, 150, 200) if fits(percent)))
"""

_CHOSEN = """
import sys
from pathlib import Path
from tests.ui.still import close_still, open_still, until
from ui.enlarge import make_application
from ui.preferences import Preferences
from ui.theme import Theme, ThemeChoice

kept = Preferences(Path(sys.argv[1]))
application = make_application(kept)
window = open_still(Path(sys.argv[2]), Theme(application, ThemeChoice.LIGHT), kept)
heard = lambda: [notice.what for notice in window.desk.notices.newest() if "larger letters" in notice.what]
until(lambda: bool(heard()))
said = heard()
for command in ("view.size_150", "view.size_200"):
    window.actions_[command].trigger()
    said.append(window.page.notice.words + str(window.actions_[command].isChecked()))
close_still(window)
kept.flush()
print("|".join(said))
"""


def _start(code: str, folder: Path, width: int, height: int, *arguments: Path, **more: str) -> str:
    """What a new process says on a screen of this size."""
    screen = {"name": "screen", "x": 0, "y": 0, "width": width, "height": height, "logicalDpi": 96, "dpr": 1}
    (folder / "screens.json").write_text(json.dumps({"screens": [screen]}))
    plain = {name: value for name, value in os.environ.items() if name != "QT_SCALE_FACTOR"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder / "window.json"), *map(str, arguments)],
        cwd=ROOT,
        env={**plain, "QT_QPA_PLATFORM": f"offscreen:configfile={folder / 'screens.json'}", **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize(("kept", "percent"), [(150, 150), (133, 100), ("large", 100), (True, 100), (None, 100)])
def test_only_sizes_of_the_menu_count(tmp_path: Path, kept: object, percent: int) -> None:
    choices = Preferences(tmp_path / "window.json")
    choices.keep(SIZE, kept)
    assert size_choice(choices) == percent and percent in SIZES
    choices.flush()


@pytest.mark.parametrize(
    ("screen", "more", "said"),
    [
        ((2560, 1440), {}, "1707 100 125 150 200"),
        ((1920, 1080), {}, "1280 100 125 150"),
        ((1600, 900), {}, "1600 100 125"),  # chosen on another screen: it does not fit here
        ((2560, 1440), {"QT_SCALE_FACTOR": "1"}, "2560 100 125 150 200"),  # the person's own word goes first
    ],
)
def test_everything_is_drawn_larger_where_there_is_room(
    tmp_path: Path, screen: tuple[int, int], more: dict[str, str], said: str
) -> None:
    choices = Preferences(tmp_path / "window.json")
    choices.keep(SIZE, 150)
    choices.flush()
    assert _start(_STARTED, tmp_path, *screen, **more) == said


def test_a_large_screen_is_hinted_at_once_and_a_choice_says_from_when_it_counts(tmp_path: Path) -> None:
    said = _start(_CHOSEN, tmp_path, 2304, 1296, tmp_path / "home").split("|")
    assert "room for larger letters" in said[0]
    assert "150 %" in said[1] and said[1].endswith("True")
    assert "no room for 200 %" in said[2] and said[2].endswith("False")
    assert size_choice(Preferences(tmp_path / "window.json")) == 150
