from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.episode import Episode, Manifest
from storage.layout import COPY_NAME, GROUP_NAME, Home
from tests.storage.takes import DEPTH, FRONT, STATE, rewrite_manifest, write_take
from workbench.core.errors import CorruptTakeError, WorkbenchError


def _rename_stream(a: dict[str, Any], name: str) -> None:
    for part in ("streams", "counts", "gaps", "gap_positions", "layout"):
        a[part][name] = a[part].pop(DEPTH.name)
    a["streams"][name]["name"] = name


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "path trick": lambda a: _rename_stream(a, "../../outside"),
    "absolute path": lambda a: _rename_stream(a, "/etc/passwd"),
    "another id": lambda a: a.update(id="0" * 32),
    "id as path": lambda a: a.update(id="../x"),
    "unknown kind": lambda a: a.update(kind="dream"),
    "newer format": lambda a: a.update(format_version=2),
    "extra key": lambda a: a.update(surprise=1),
    "missing key": lambda a: a.pop("counts"),
    "negative count": lambda a: a["counts"].update({FRONT.name: -1}),
    "huge picture": lambda a: a["streams"][FRONT.name].update(shape=[1 << 30, 1 << 30, 3]),
    "object dtype": lambda a: a["streams"][STATE.name].update(dtype="object"),
    "unknown codec": lambda a: a["layout"][FRONT.name].update(codec={"name": "pickle"}),
    "codec on a vector": lambda a: a["layout"][STATE.name].update(codec={"name": "zstd", "level": 1}),
    "zero shard": lambda a: a["layout"][FRONT.name].update(per_file=0),
    "gap outside": lambda a: a["gap_positions"].update({FRONT.name: [[10**6, 1]]}),
    "gaps that do not add up": lambda a: a["gaps"].update({FRONT.name: 4}),
    "text as number": lambda a: a.update(rows="12"),
    "not sealed": lambda a: a.update(sealed=False),
    "strange hash": lambda a: a.update(content_hash="yes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_manifests_are_corrupt_takes(home: Home, name: str) -> None:
    manifest = write_take(home, 0.5)
    rewrite_manifest(home.sealed(manifest.id), HOSTILE[name])
    with pytest.raises(CorruptTakeError):
        Episode.open(home, manifest.id)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"attributes": 3}', "[" * 100_000, '"\\ud800"'])
def test_nonsense_instead_of_a_manifest(home: Home, text: str) -> None:
    manifest = write_take(home, 0.5)
    (home.sealed(manifest.id) / COPY_NAME).unlink()
    (home.sealed(manifest.id) / GROUP_NAME).write_text(text)
    with pytest.raises(CorruptTakeError):
        Episode.open(home, manifest.id)


def test_more_promised_than_stored_is_corrupt(home: Home) -> None:
    manifest = write_take(home, 0.5)
    rewrite_manifest(home.sealed(manifest.id), lambda a: a["counts"].update(dict.fromkeys(a["counts"], 2000)))
    with Episode.open(home, manifest.id) as episode:
        with pytest.raises(CorruptTakeError):
            episode.read(FRONT.name, 1500)
        with pytest.raises(CorruptTakeError):
            episode.vectors(STATE.name)
        assert episode.verify() != []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_any_json_is_either_a_manifest_or_a_clear_error(value: Any) -> None:
    with pytest.raises(CorruptTakeError):
        Manifest.from_json(value)


def test_home_says_in_one_sentence_why_it_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkbenchError, match="cannot be made"):
        Home.open(tmp_path / "file" / "home")
    with pytest.raises(WorkbenchError, match="no data folder"):
        Home.open(tmp_path / "missing", create=False)
    assert Home.open(tmp_path / "new").free_bytes() > 0
    for bad in ("..", "a/b", "A" * 32, ""):
        with pytest.raises(CorruptTakeError):
            Home(tmp_path).sealed(bad)
