"""What keeps the house in order and no other tool checks."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("workbench", "hardware", "storage", "models", "ui")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def relative(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_no_file_is_too_long_to_read():
    assert relative([path for path in SOURCES if path.read_text().count("\n") > 400]) == []
    assert (ROOT / "main.py").read_text().count("\n") <= 60


def test_no_function_is_too_long_and_no_error_is_swallowed():
    long, swallowed = [], []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60:
                long.append(f"{path.relative_to(ROOT)}:{node.name}")
            if isinstance(node, ast.ExceptHandler) and [type(s) for s in node.body] == [ast.Pass] and not node.type:
                swallowed.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert (long, swallowed) == ([], [])


def test_no_assert_guards_anything_that_moves():
    """``python -O`` removes asserts."""
    guarded = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert guarded == []


def test_the_first_package_is_empty():
    assert (ROOT / "workbench/__init__.py").read_text() == ""


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("ui.app", ("torch", "zarr.core", "mujoco")),
        ("workbench.cli", ("torch", "PyQt6")),
        ("workbench.services.station", ("torch", "PyQt6")),
        ("workbench.services.capture", ("torch", "PyQt6", "mujoco")),
        ("workbench.services.control", ("torch", "PyQt6", "zarr")),
        ("models.recipes", ("torch",)),
        ("models.registry", ("torch",)),
        ("models.stages", ("torch",)),
    ],
)
def test_what_a_process_loads(module, never):
    """The contracts speak about import statements; this looks at what really arrives in a fresh process."""
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = set(done.stdout.split())
    assert [name for name in never if name in loaded] == []


PATH_LIKE = re.compile(r"`((?:\.?[\w*.-]+/)+[\w*.-]*|\w+\.(?:py|md|toml|lock|in))`")
WRITTEN_AT_RUN_TIME = {
    "station.toml",
    "catalog.db",
    "logs/notices.jsonl",
    "runs/",
    "models/",
    "episodes/",
    "bases/",
    "trash/",
    "exports/",
    "rows/",
    "cache/",
    "checkpoint/",
    "/dev/shm",
    "quarantine/",
    "archiving/",
    "trash/originals/",
    "exports/bench_learn.json",
    "rows/t_host_ns",
    "rows/index",
    "rows/age_ns",
}


@pytest.mark.parametrize("page", PAGES, ids=relative(PAGES))
def test_every_file_that_a_page_names_exists(page):
    missing = []
    for name in PATH_LIKE.findall(page.read_text()):
        if name in WRITTEN_AT_RUN_TIME or any(sign in name for sign in "<*"):
            continue
        places = [ROOT / name, page.parent / name, *ROOT.glob(f"*/{name}"), *ROOT.glob(f"*/*/{name}")]
        if not any(place.exists() for place in places):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=relative(PAGES))
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
