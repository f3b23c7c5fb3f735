from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import WorkbenchError
from workbench.core.files import hash_bytes, hash_tree, new_id, read_json, write_atomic, write_json

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from workbench.core.files import write_atomic
path, number = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
while True:
    number += 1
    write_atomic(path, (b"%08d" % number) * 40_000)
"""


def test_a_killed_writer_leaves_old_or_new_content_never_half(tmp_path):
    path, generator, number = tmp_path / "deeper" / "file", random.Random(3), 0
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        writer.stdout.readline()
        time.sleep(generator.uniform(0.02, 0.12))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 8 * 40_000
            assert len({content[i : i + 8] for i in range(0, len(content), 8)}) == 1
            assert int(content[:8]) >= number, "an older content came back"
            number = int(content[:8])
    assert number > 6, "the writer was never fast enough for this test to mean anything"


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small tmpfs here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_keeps_the_old_content_and_leaves_no_litter(small_disk):
    path = small_disk / "file"
    write_atomic(path, b"old" * 1000)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, bytes(300_000))
    assert path.read_bytes() == b"old" * 1000
    assert [entry.name for entry in small_disk.iterdir()] == ["file"]
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_failed_rename_leaves_no_litter(tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError):
        write_atomic(tmp_path / "folder", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON)
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    try:
        write_json(path, value)
    except UnicodeEncodeError:  # lone surrogates have no UTF-8
        return
    assert read_json(path) == value
    assert path.read_text().endswith("\n")


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}])
def test_json_refuses_numbers_that_json_has_not_and_keeps_the_old_file(tmp_path, value):
    path = tmp_path / "a.json"
    write_json(path, {"kept": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, value)
    assert read_json(path) == {"kept": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1'])
def test_broken_json_names_the_file_and_the_way_out(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(WorkbenchError, match=r"broken\.json is not valid JSON.*doctor"):
        read_json(path)


def test_missing_json_names_the_file(tmp_path):
    with pytest.raises(WorkbenchError, match=r"nothing\.json is missing"):
        read_json(tmp_path / "nothing.json")


def test_hash_bytes_is_sha_256():
    assert hash_bytes(b"ab", b"c") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def make_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(st.sampled_from(["a", "b", "c.d", "d/a", "d/b", "e/f/g"]), st.binary(max_size=12), max_size=5)


@given(one=TREES, other=TREES)
def test_trees_have_the_same_hash_exactly_if_they_are_the_same(tmp_path_factory, one, other):
    base = tmp_path_factory.mktemp("trees")
    first, second = make_tree(base / "1", one), make_tree(base / "2", other)
    assert (hash_tree(first) == hash_tree(second)) == (one == other)


def test_a_tree_hash_tells_content_from_names(tmp_path):
    one = make_tree(tmp_path / "1", {"a": b"1b\x002"})
    other = make_tree(tmp_path / "2", {"a": b"1", "b": b"2"})
    assert hash_tree(one) != hash_tree(other)


def test_a_tree_hash_skips_what_it_is_told_to(tmp_path):
    tree = make_tree(tmp_path / "t", {"a": b"1", "d/manifest": b"2"})
    before = hash_tree(tree, frozenset({"manifest"}))
    (tree / "d" / "manifest").write_bytes(b"changed")
    assert hash_tree(tree, frozenset({"manifest"})) == before
    assert hash_tree(tree) != before


def test_ids_are_version_7_unique_and_sort_by_time():
    ids = []
    for _ in range(20):
        ids.append([new_id() for _ in range(20)])
        time.sleep(0.002)
    flat = [identity for group in ids for identity in group]
    assert len(set(flat)) == len(flat)
    assert all(re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", identity) for identity in flat)
    assert all(max(before) < min(after) for before, after in itertools.pairwise(ids))
    assert abs(int(flat[-1][:12], 16) / 1000 - time.time()) < 5


def test_json_on_disk_is_readable_by_people(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Grüße", "n": [1]})
    text = (tmp_path / "a.json").read_text()
    assert "Grüße" in text and text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
