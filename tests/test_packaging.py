"""The two commands of the README stand on these files."""

from __future__ import annotations

import ast
import importlib.metadata as metadata
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("workbench", "hardware", "storage", "models", "ui")
OPTIONAL = {"pyrealsense2"}  # plug-ins name these and are greyed without them


def run(*command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **changes}, capture_output=True, text=True, timeout=60, check=False
    )


def names(file: str) -> dict[str, str]:
    """Package name in lower case -> the whole requirement."""
    rows = (line.split("#", 1)[0].strip() for line in (ROOT / file).read_text().splitlines())
    return {re.split(r"[=<>\[ ]", row)[0].lower().replace("_", "-"): row for row in rows if row}


def test_the_lock_is_complete_and_exact():
    lock = names("requirements.lock")
    assert set(names("requirements.in")) <= set(lock)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", row) for row in lock.values()), "only exact versions"
    assert lock["torch"] == "torch==2.13.0"
    for name, row in names("requirements.in").items():
        assert "==" not in row or lock[name] == row.lower()


def test_the_lock_is_what_the_tests_run_on():
    result = run(sys.executable, "packaging/lock.py", "--check")
    assert result.returncode == 0, result.stderr


def test_every_requirement_says_why_it_is_there():
    rows = [row for row in (ROOT / "requirements.in").read_text().splitlines() if row and not row.startswith("#")]
    assert all(re.search(r"\S\s+# \S", row) for row in rows)
    decision = (ROOT / "docs/decisions/0008-dependencies.md").read_text().lower()
    assert [name for name in names("requirements.in") if name not in decision] == []


def imported_packages() -> set[str]:
    found = set()
    for file in [ROOT / "main.py", *(path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py"))]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {*ROOMS, "tests", "main", "plugs_for_test"}


def test_every_imported_package_is_asked_for_by_name():
    """A package that is only there because another one needs it can vanish with the next lock."""
    providers = metadata.packages_distributions()
    asked = set(names("requirements.in"))
    missing = {
        package
        for package in imported_packages() - OPTIONAL
        if not {name.lower().replace("_", "-") for name in providers.get(package, [])} & asked
    }
    assert missing == set()


def test_ci_runs_what_the_readme_says():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "make test"
    steps = run("make", "-n", "test").stdout
    for step in ("ruff format --check", "ruff check", "mypy", "lint-imports", "pytest"):
        assert step in steps


def test_flags_reach_the_demo():
    assert "main.py demo --quick --json --seed 3" in re.sub(
        r" +", " ", run("make", "-n", "demo", "QUICK=1", "JSON=1", "ARGS=--seed 3").stdout
    )
    assert "--quick" not in run("make", "-n", "demo").stdout


def test_a_second_setup_takes_no_time():
    if not list((ROOT / ".venv").glob(".installed-*")):
        pytest.skip("this environment was not made by packaging/setup.sh")
    started = time.monotonic()
    result = run("bash", "packaging/setup.sh")
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - started < 10
    assert result.stdout == ""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A PATH with only a few real commands and those a test makes up."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "grep", "env", "cat"):
        real = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (folder / name).symlink_to(real)

    def add(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setenv("PATH", str(folder))
    return add


def libraries(*missing: str) -> str:
    """A made-up ldconfig that knows everything but ``missing``."""
    text = (ROOT / "packaging/system_libraries.sh").read_text()
    known = [name for name in re.findall(r"^(lib\S+\.so\.\d+) ", text, re.M) if name not in missing]
    return "cat <<'END'\n" + "\n".join(f"\t{name} (libc6,x86-64) => /x/{name}" for name in known) + "\nEND"


def test_missing_libraries_are_named_with_the_line_to_run(commands):
    commands("ldconfig", libraries("libEGL.so.1", "libdbus-1.so.3"))
    commands("id", "echo 1000")
    commands("apt-get", "exit 9")
    result = run("bash", "packaging/system_libraries.sh")
    assert result.returncode == 1
    assert result.stderr == (
        "These system libraries are missing. Run:  sudo apt-get install --no-install-recommends libegl1 libdbus-1-3\n"
    )


def test_root_installs_missing_libraries(commands, tmp_path):
    commands("ldconfig", libraries("libEGL.so.1"))
    commands("id", "echo 0")
    commands("apt-get", f'echo "$@" >> {tmp_path}/called')
    assert run("bash", "packaging/system_libraries.sh").returncode == 0
    called = (tmp_path / "called").read_text().splitlines()
    assert "update" in called[0] and called[1].split()[-1] == "libegl1"


def test_without_apt_the_names_are_given(commands):
    commands("ldconfig", libraries("libEGL.so.1"))
    result = run("bash", "packaging/system_libraries.sh")
    assert result.returncode == 1 and "libegl1" in result.stderr and "package manager" in result.stderr


def test_what_only_a_window_needs_is_only_asked_for_a_window(commands):
    commands("ldconfig", libraries("libxcb-cursor.so.0"))
    commands("id", "echo 1000")
    commands("apt-get", "exit 9")
    assert run("bash", "packaging/system_libraries.sh").returncode == 0
    assert "libxcb-cursor0" in run("bash", "packaging/system_libraries.sh", "window").stderr


def test_another_python_is_passed_over_and_no_python_is_one_sentence(commands):
    commands("python3", "exit 1")
    if not Path("/usr/bin/python3.11").exists():
        result = run("bash", "packaging/find_python.sh")
        assert result.returncode == 1
        assert result.stderr.startswith("CLAP Workbench needs Python 3.11") and result.stderr.count("\n") == 1
    commands("python3.11", f'exec {sys.executable} "$@"')
    assert run("bash", "packaging/find_python.sh").stdout.strip() == sys.executable
