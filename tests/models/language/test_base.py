"""Bases on disk: what is refused and in which words, what their hash sees, and that the hub is asked only when told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from models.language import base as bases
from models.language.base import find_again, load, open_base, wanted
from models.recipes import NtpRecipe, preset
from workbench.core.errors import NotFoundError, WorkbenchError


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["smolvlm2"], tmp_path / "mine"))


def test_wrong_folders_are_refused_in_words(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="no base model in"):
        open_base(tmp_path / "nowhere", "smolvlm2")
    with pytest.raises(NotFoundError, match="smolvlm2"):
        open_base(copy, "smolvlm")
    with pytest.raises(WorkbenchError, match="'smolvlm', not Qwen3-VL"):
        open_base(copy, "qwen3_vl")
    (copy / "tokenizer.json").rename(copy / "aside")
    with pytest.raises(WorkbenchError, match=r"no tokenizer\.json"):
        open_base(copy, "smolvlm2")
    (copy / "aside").rename(copy / "tokenizer.json")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(WorkbenchError, match="pickled weights are not opened"):
        open_base(copy, "smolvlm2")


def test_every_byte_that_decides_an_answer_is_in_the_hash(copy: Path) -> None:
    before = open_base(copy, "smolvlm2").sha256
    (copy / "README.md").write_text("words")
    assert open_base(copy, "smolvlm2").sha256 == before
    for name in ("model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[:-1] + b" ")
        assert bases.content_hash(copy) != before, name
        (copy / name).write_bytes(data)
    assert open_base(copy, "smolvlm2").sha256 == before


def test_broken_and_partial_weights_are_refused_in_words(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    lost = next(name for name in weights if "text_model.layers.1" in name)
    save_file({name: value for name, value in weights.items() if name != lost}, copy / "model.safetensors")
    with pytest.raises(WorkbenchError, match="lacks the weights"):
        load(open_base(copy, "smolvlm2"), "SmolVLMForConditionalGeneration", None)
    (copy / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    with pytest.raises(WorkbenchError, match="cannot be loaded"):
        load(open_base(copy, "smolvlm2"), "SmolVLMForConditionalGeneration", None)


def test_a_policy_finds_its_base_again_and_takes_no_other(folders: dict[str, Path], tmp_path: Path) -> None:
    right = open_base(folders["smolvlm2"], "smolvlm2")
    told = {"kind": "smolvlm2", "name": "tiny", "folder": str(tmp_path / "gone"), "sha256": right.sha256}
    with pytest.raises(WorkbenchError, match=r"needs its base model 'tiny'.*bases/tiny"):
        find_again(told, tmp_path)
    beside = Path(shutil.copytree(folders["smolvlm2"], tmp_path / "bases" / "tiny"))
    assert find_again(told, tmp_path) == open_base(beside, "smolvlm2")
    config = json.loads((beside / "config.json").read_text())
    (beside / "config.json").write_text(json.dumps(config | {"note": 1}))
    with pytest.raises(WorkbenchError, match="not the one this policy was trained on"):
        find_again(told, tmp_path)
    assert find_again(told | {"name": "../bases/tiny", "folder": str(folders["smolvlm2"])}, tmp_path) == right


def test_recipes_say_what_is_wrong_with_them() -> None:
    assert preset("tiny", "ntp").backbone == "keypoints"
    with pytest.raises(NotFoundError, match="smolvlm2"):
        NtpRecipe(backbone="smolvlm")
    with pytest.raises(WorkbenchError, match="backbone_folder"):
        NtpRecipe(backbone="smolvlm2")
    with pytest.raises(NotFoundError, match="lora"):
        NtpRecipe(tuning="lorra")


@contextmanager
def hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub of models on this machine with the one repository ``maker/tiny``, and what it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            name = path.rsplit("/", 1)[-1]
            files = [
                {"type": "file", "path": p.name, "rfilename": p.name, "size": p.stat().st_size, "oid": p.name}
                for p in folder.iterdir()
            ]
            about = {"id": "maker/tiny", "sha": "0" * 40, "siblings": files}
            data = json.dumps(files if "/tree/" in path else about).encode()
            if path.startswith("/maker/tiny/resolve/") and (folder / name).is_file():
                data = (folder / name).read_bytes()
            elif not path.startswith("/api/models/maker/tiny"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{name}-{len(data)}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_hub_is_asked_only_when_a_recipe_says_so(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    source = Path(shutil.copytree(folders["smolvlm2"], tmp_path / "source"))
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    assert wanted(str(source), tmp_path) == source
    with hub(source) as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        fetched = wanted("hub:maker/tiny", tmp_path)
        assert fetched == tmp_path / "bases" / "maker--tiny"
        assert open_base(fetched, "smolvlm2").sha256 == open_base(source, "smolvlm2").sha256
        assert not (fetched / "pytorch_model.bin").exists(), "nothing that would have to be unpickled"
        asked.clear()
        assert wanted("hub:maker/tiny", tmp_path) == fetched
        assert not asked, "what is there is not fetched again"
        with pytest.raises(WorkbenchError, match="maker/none could not be fetched"):
            wanted("hub:maker/none", tmp_path)
    assert sorted(path.name for path in (tmp_path / "bases").iterdir() if "none" not in path.name) == ["maker--tiny"]
