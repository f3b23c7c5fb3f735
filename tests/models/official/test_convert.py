"""Published checkpoints become networks that say exactly what the published structure says, or are refused by name."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.official.convert import convert_alignment, convert_codec, preset_of
from models.official.preset import PUBLISHED
from models.official.reading import Published, read_published
from models.recipes import recipe_from_json
from tests.models.official.published import TINY, Sizes, StageOne, StageTwo, checkpoint_of, scales_of, spread
from workbench.core.errors import WorkbenchError


@pytest.fixture(scope="module")
def one() -> StageOne:
    torch.manual_seed(1)
    net = StageOne(TINY).eval()
    spread(net, TINY)
    return net


@pytest.fixture(scope="module")
def two() -> StageTwo:
    torch.manual_seed(2)
    net = StageTwo(TINY).eval()
    spread(net, TINY)
    return net


def _written(net: torch.nn.Module, path: Path, **settings: object) -> Published:
    torch.save(checkpoint_of(net, clap_num_heads=TINY.heads, **settings), path)
    return read_published(path)


@torch.no_grad()
def _same_codec(net: StageOne, published: Published, sizes: Sizes, rows: int) -> None:
    recipe, mine = convert_codec(published)
    actions = torch.randn(rows, sizes.horizon, 7)
    tokens = net.tokens(actions)
    assert len(tokens.unique()) > 3  # else equal tokens would say nothing
    assert torch.equal(mine.encode(actions)[1], tokens)
    assert (mine.decode(tokens) - net.decode(tokens)).abs().max() < 1e-4
    assert recipe_from_json(recipe.to_json()) == recipe and recipe.horizon == sizes.horizon
    some = net.action_vae.decode(net.vq_t.codebook(tokens[:, :2]))
    assert (mine.decode_codes(mine.codebook[tokens[:, :2]]) - some).abs().max() < 1e-4


@torch.no_grad()
def _same_alignment(net: StageTwo, published: Published, sizes: Sizes, rows: int) -> str:
    recipe, mine = convert_alignment(published, convert_codec(published)[1], sizes.patches)
    now, then = torch.randn(2, rows, 1, sizes.patches, sizes.numbers)
    irrelevant, action, future = net.look(now[:, 0], then[:, 0])
    seen = torch.ones(rows, 1, dtype=torch.bool)
    found = mine.glance(now, then, seen)
    assert len(action.unique()) > 3
    assert torch.equal(found.tokens_BN, action[:, -sizes.tokens :])
    assert torch.equal(found.irrelevant_tokens_BM, irrelevant)
    assert (mine.predict(now, found, seen)[:, 0] + now[:, 0] - future).abs().max() < 1e-4
    assert recipe.arms == 2 and recipe_from_json(recipe.to_json()) == recipe
    assert float(mine.logit_scale) == pytest.approx(2.302585) and float(mine.logit_bias) == -10.0
    # A different second picture is read otherwise: the comparison above is of something that depends on it.
    assert not torch.equal(mine.glance(now, torch.randn_like(then), seen).latent_BND, found.latent_BND)
    return preset_of(recipe)


def test_a_codec_says_the_same_tokens_and_chunks(one: StageOne, tmp_path: Path) -> None:
    published = _written(one, tmp_path / "last.ckpt")
    _same_codec(one, published, TINY, 40)
    save_file(dict(one.state_dict()), tmp_path / "plain.safetensors")
    _same_codec(one, read_published(tmp_path / "plain.safetensors"), TINY, 40)


def test_an_alignment_reads_the_same_tokens_and_foresees_the_same_patches(two: StageTwo, tmp_path: Path) -> None:
    published = _written(two, tmp_path / "last.ckpt")
    _same_codec(two, published, TINY, 20)
    _same_alignment(two, published, TINY, 37)  # more rows than are read at once


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_codec_of_the_official_size(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = StageOne(Sizes()).eval()
    spread(net, Sizes())
    torch.save(checkpoint_of(net), tmp_path / "last.ckpt")
    published = read_published(tmp_path / "last.ckpt")
    recipe, codec = convert_codec(published)
    assert preset_of(recipe) == "clap-l32" and recipe.horizon == 32
    assert 71e6 < sum(p.numel() for p in codec.parameters()) + codec.codebook.numel() < 73e6  # 71.9 M are published
    _same_codec(net, published, Sizes(), 6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_alignment_of_the_official_size(tmp_path: Path) -> None:
    torch.manual_seed(4)
    net = StageTwo(Sizes()).eval()
    spread(net, Sizes())
    torch.save(checkpoint_of(net), tmp_path / "last.ckpt")
    assert 198e6 < sum(p.numel() for n, p in net.named_parameters() if not n.startswith(("action_vae", "vq_t"))) < 204e6
    assert _same_alignment(net, read_published(tmp_path / "last.ckpt"), Sizes(), 2) == "clap-l32"


def test_what_only_training_needs_is_left_out(two: StageTwo, tmp_path: Path) -> None:
    torch.save(_told(two, lambda s: s.update(scales_of())), tmp_path / "a.ckpt")
    more = {
        f"clap.ema_{name}": value for name, value in two.visual_encoder.state_dict(prefix="visual_encoder.").items()
    }
    torch.save(_told(two, lambda s: s.update(more | {"clap.dino_encoder.norm.weight": torch.ones(3)})), tmp_path / "b")
    for name in ("a.ckpt", "b"):
        published = read_published(tmp_path / name)
        convert_alignment(published, convert_codec(published)[1], TINY.patches)


def _told(net: torch.nn.Module, change: Callable[[dict[str, Tensor]], object]) -> dict[str, Any]:
    value = checkpoint_of(net, clap_num_heads=TINY.heads)
    change(value["state_dict"])
    return value


_PE = "clap.action_vae.query_pos_encoder.pe"
_LAST = "clap.action_vae.final_layer.weight"
WRONG: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "a missing tensor": (lambda s: s.pop(_LAST), "lacks 'action_vae.final_layer.weight'"),
    "a missing layer": (
        lambda s: [s.pop(name) for name in list(s) if "encoder.input_blocks.0." in name],
        "lacks 'action_vae.encoder.input_blocks|different numbers of layers",
    ),
    "an unknown tensor": (lambda s: s.update({"clap.action_vae.wings": torch.ones(2)}), "'action_vae.wings'"),
    "a residual book": (
        lambda s: s.update({"clap.vq_t.codebooks.0.codebook.weight": s.pop("clap.vq_t.codebook.weight")}),
        "'vq_t.codebooks.0.codebook.weight'",
    ),
    "a wrong shape": (lambda s: s.update({_LAST: torch.ones(8, 16)}), r"final_layer.weight' has the shape \(8, 16\)"),
    "a book without axes": (lambda s: s.update({"clap.vq_t.codebook.weight": torch.tensor(1.0)}), "vq_t.codebook"),
    "too few places": (lambda s: s.update({_PE: torch.ones(9, 1, 16)}), "query_pos_encoder.pe' has the shape"),
    "whole numbers": (lambda s: s.update({_LAST: torch.ones(7, 16, dtype=torch.int64)}), "final_layer.weight'"),
    "no number": (lambda s: s[_LAST].view(-1)[:1].fill_(float("nan")), "final_layer.weight' is not finite"),
    "layers without end": (
        lambda s: s.update({"clap.action_vae.encoder.input_blocks.900.linear1.bias": torch.ones(3)}),
        "more than 63 layers",
    ),
    "a book beyond measure": (
        lambda s: s.update({"clap.vq_t.codebook.weight": torch.ones(1).expand(10**9, 1)}),
        "vq_t.codebook.weight' has the shape",
    ),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_by_name(
    change: Callable[[dict[str, Tensor]], object], said: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    torch.save(_told(StageOne(TINY), change), tmp_path / "wrong.ckpt")
    with pytest.raises(WorkbenchError, match=said):
        convert_codec(read_published(tmp_path / "wrong.ckpt"))


def test_a_file_of_the_first_stage_holds_no_alignment(one: StageOne, tmp_path: Path) -> None:
    published = _written(one, tmp_path / "last.ckpt")
    with pytest.raises(WorkbenchError, match="lacks 'action_latent_t'"):
        convert_alignment(published, convert_codec(published)[1], TINY.patches)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(_Evil.mark),)

    mark = ""


def test_no_code_in_a_file_is_run_and_foreign_settings_do_no_harm(one: StageOne, tmp_path: Path) -> None:
    _Evil.mark = str(tmp_path / "it_ran")
    value = checkpoint_of(one)
    torch.save(value | {"hyper_parameters": {"evil": _Evil(), "chunk_size": 32}}, tmp_path / "evil.ckpt")
    with contextlib.suppress(WorkbenchError):  # refusing is as good as leaving it out
        convert_codec(read_published(tmp_path / "evil.ckpt"))
    assert not (tmp_path / "it_ran").exists()
    torch.save(value | {"callbacks": {"x": _Plain(3)}}, tmp_path / "foreign.ckpt")
    _same_codec(one, read_published(tmp_path / "foreign.ckpt"), TINY, 5)
    assert _Plain.made == 1


class _Plain:
    """Something of another program; it must not be made when a file is read."""

    made = 0

    def __init__(self, _: int) -> None:
        _Plain.made += 1

    def __reduce__(self) -> tuple[Any, ...]:
        return _Plain, (3,)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def _packed(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in parts.items():
            new.writestr(name, data)


BROKEN: dict[str, Callable[[Path], object]] = {
    "cut": _cut,
    "empty": lambda path: path.write_bytes(b""),
    "a pickle": _pickled,
    "a packed archive": _packed,
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "no weights": lambda path: torch.save({"state_dict": {"a": 1}}, path),
    "a list": lambda path: torch.save([torch.ones(1)], path),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_in_a_sentence(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"clap.bias": torch.ones(3000)}}, path)
    read_published(path)
    spoil(path)
    with pytest.raises(WorkbenchError) as refusal:
        read_published(path)
    assert len(str(refusal.value)) < 500


def test_the_preset_is_a_recipe_of_every_stage() -> None:
    for stage, recipe in PUBLISHED["clap-l32"].items():
        assert recipe.stage == stage and recipe.horizon == 32
        assert recipe_from_json(recipe.to_json()) == recipe
