"""Reports of failures: complete enough to be of use, without secrets, not without end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.services.crash import CrashReports, about_station, without_secrets
from workbench.services.notices import NoticeLog
from workbench.services.settings import Settings, simulated_settings

TOKEN = "s3cr3t-t0ken-of-the-lab"


@pytest.fixture
def reports(tmp_path: Path) -> CrashReports:
    log = NoticeLog(tmp_path)
    log.add("bad", "capture", "camera front is gone", "Plug it in")
    log.close()
    return CrashReports(tmp_path, log)


def with_secrets() -> Settings:
    values = simulated_settings().model_dump()
    values["policy"] = {"url": f"wss://ada:pass{TOKEN}@robot.lab/act?key={TOKEN}", "token": TOKEN}
    values["cameras"][0]["options"]["password"] = TOKEN
    return Settings(**values)


def test_a_report_says_what_happened_and_on_what(reports: CrashReports) -> None:
    path = reports.write("ValueError: boom", "Traceback ...\n  line 3")
    text = path.read_text()
    for part in ("ValueError: boom", "line 3", "camera front is gone", "Plug it in", "python", "processor"):
        assert part in text
    assert path.parent.name == "logs" and path.name.startswith("crash-")


def test_nothing_secret_gets_into_a_report(reports: CrashReports) -> None:
    reports.settings = with_secrets()
    text = reports.write(f"could not reach {TOKEN}", f"token='{TOKEN}' in wss://u:{TOKEN}@h").read_text()
    assert TOKEN not in text and "robot.lab" in text, "the host is needed, the token is not"
    assert TOKEN not in about_station(Path("/home"), with_secrets())


secret = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=6, max_size=20).map("Zz9{}".format)


@given(secret, st.sampled_from(["token", "password", "API_KEY", "client_secret"]), st.sampled_from(["=", ": ", '": "']))
def test_named_secrets_are_masked_however_they_are_written(value: str, name: str, between: str) -> None:
    assert value not in without_secrets(f'{{"{name}{between}{value}", "rest": 1}}')


def test_one_place_is_reported_once_a_minute(reports: CrashReports) -> None:
    assert reports.is_new("a.py:3") and not reports.is_new("a.py:3") and reports.is_new("a.py:4")


def test_old_reports_make_room(reports: CrashReports) -> None:
    written = [reports.write(f"failure {n}", "x") for n in range(24)]
    left = sorted(reports.folder.glob("crash-*.txt"))
    assert len(left) == 20 and written[-1] in left and len(set(written)) == 24


def test_a_process_that_dies_at_once_leaves_a_report_for_the_next_start(tmp_path: Path) -> None:
    code = (
        "import ctypes, faulthandler, sys; from pathlib import Path\n"
        "from workbench.services.crash import CrashReports; from workbench.services.notices import NoticeLog\n"
        "home = Path(sys.argv[1]); file = CrashReports(home, NoticeLog(home)).open_faults()\n"
        "faulthandler.enable(file); ctypes.string_at(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode < 0
    (tmp_path / "logs" / f"faults-{os.getppid()}.txt").write_text("of one that lives")
    log = NoticeLog(tmp_path)
    found = CrashReports(tmp_path, log).collect_faults()
    log.close()
    assert len(found) == 1 and "string_at" in found[0].read_text()
    assert (tmp_path / "logs" / f"faults-{os.getppid()}.txt").exists(), "another window's file is left alone"
