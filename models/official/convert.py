"""Published weights as networks of this program: all have a place and every place is filled, or it is refused."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from models import checkpoint
from models.act_vae import ActVae
from models.official.preset import HORIZON, NAME, PUBLISHED, RATE_HZ
from models.official.reading import Published
from models.official.space_time import SpaceTimeVae
from models.official.table import ALIGNMENT, CODEC, LEFT_OUT, Table, theirs_of, translated
from models.recipes import ActVaeRecipe, Recipe, VdVaeRecipe
from workbench.core.errors import WorkbenchError

R = TypeVar("R", ActVaeRecipe, VdVaeRecipe)
M = TypeVar("M", bound=nn.Module)
_CODEC_HEADS, _PATCH_HEADS = 4, 12  # no tensor tells them; those of the alignment may be told by the settings
_DEEPEST, _LARGEST, _LARGEST_TOLD = 63, 16_384, 256
_OTHER = "Name a checkpoint of OpenCLAP as its training wrote it"


@dataclass(frozen=True, slots=True)
class Parts:
    """One network's tensors in a file, by our names, and theirs of each."""

    tensors: Mapping[str, Tensor]
    table: Table

    def size(self, name: str, axis: int) -> int:
        """Of one tensor along one axis. WorkbenchError if it is not there or beyond measure."""
        value = self.tensors.get(name)
        if value is None:
            raise WorkbenchError(f"the file lacks '{theirs_of(name, self.table)}'", _OTHER)
        if not -value.dim() <= axis < value.dim() or not 1 <= value.shape[axis] <= _LARGEST:
            raise _misshapen(theirs_of(name, self.table), value, "of another number of axes")
        return int(value.shape[axis])

    def deep(self, start: str) -> int:
        """How many layers there are below ``start``. WorkbenchError if far too many."""
        numbers = {int(name[len(start) :].partition(".")[0]) for name in self.tensors if name.startswith(start)}
        if len(numbers) > _DEEPEST or max(numbers, default=0) >= _DEEPEST:
            raise WorkbenchError(f"the file has more than {_DEEPEST} layers", _OTHER)
        return len(numbers)


def parts_of(published: Published, table: Table) -> Parts:
    """What a table knows of a file. WorkbenchError names the first tensor that nobody knows."""
    names = published.tensors.keys()
    known = translated(names, CODEC) | translated(names, ALIGNMENT)
    odd = [name for name in sorted(names) if name not in known and not left_out(name)]
    if odd:
        raise WorkbenchError(f"the file holds '{odd[0]}', which belongs to no part of OpenCLAP known here", _OTHER)
    return Parts({ours: published.tensors[theirs] for theirs, ours in translated(names, table).items()}, table)


def left_out(name: str) -> str:
    """Why a tensor of this name is not needed here; "" for one that is."""
    return next((why for start, why in LEFT_OUT if name.startswith(start)), "")


def what_was_left(published: Published) -> dict[str, int]:
    """How many tensors were left out, by reason."""
    return dict(Counter(why for name in published.tensors if (why := left_out(name))))


def convert_codec(published: Published) -> tuple[ActVaeRecipe, ActVae]:
    """The Act-VAE in a checkpoint of stage 1 or 2, frozen, and the recipe that describes it.

    WorkbenchError names the first tensor that is unknown, missing, of another shape or not finite.
    """
    parts = parts_of(published, CODEC)
    blocks = {parts.deep(f"{side}.stack.{half}.") for side in ("encoder", "decoder") for half in ("down", "up")}
    if len(blocks) != 1:
        raise WorkbenchError("the file's encoder and decoder have different numbers of layers", _OTHER)
    recipe = _published(ActVaeRecipe).with_(
        horizon_s=_told(published, "chunk_size", HORIZON) / RATE_HZ,
        tokens=parts.size("encoder.queries", 0),
        codes=parts.size("book.codes_KD", 0),
        code_dim=parts.size("book.codes_KD", 1),
        width=parts.size("encoder.enter.weight", 0),
        layers=2 * blocks.pop() + 1,
        heads=_CODEC_HEADS,
    )
    with torch.device("meta"):
        blank = ActVae(recipe)
    net = _fill(blank, lambda: ActVae(recipe), parts)
    _settle(net.book)
    return recipe, net


def convert_alignment(published: Published, act: ActVae, patches: int) -> tuple[VdVaeRecipe, SpaceTimeVae]:
    """The VD-VAE in a checkpoint of stage 2 on the codec out of the same file, frozen, and its recipe.

    Args:
        patches: of a picture, which no tensor tells.
    """
    parts = parts_of(published, ALIGNMENT)
    arms, rest = divmod(parts.size("ask_action", -2), act.tokens)
    if rest or not arms:
        raise WorkbenchError(f"the file's action queries are no multiple of the codec's {act.tokens} tokens", _OTHER)
    numbers = parts.size("ask_action", -1)
    recipe = _published(VdVaeRecipe).with_(
        horizon_s=act.horizon / RATE_HZ,
        clusters=patches,
        width=parts.size("reader.enter.1.weight", 0),
        layers=parts.deep("reader.blocks."),
        heads=_told(published, "clap_num_heads", _PATCH_HEADS),
        arms=arms,
        irrelevant_tokens=parts.size("ask_irrelevant", -2),
        irrelevant_codes=parts.size("irrelevant_book.codes_KD", 0),
    )
    with torch.device("meta"):
        blank = SpaceTimeVae(recipe, copy.deepcopy(act).to("meta"), 1, patches, numbers)
    net = _fill(blank, lambda: SpaceTimeVae(recipe, act, 1, patches, numbers), parts)
    _settle(net.irrelevant_book)
    return recipe, net


def preset_of(recipe: Recipe) -> str:
    """``clap-l32`` if the sizes are those of the release, else ""."""
    released = PUBLISHED[NAME][recipe.stage]
    sizes = ("horizon_s", "width", "layers", "heads", "clusters")
    more = ("tokens", "codes", "code_dim") if isinstance(recipe, ActVaeRecipe) else ("irrelevant_codes",)
    return NAME if all(getattr(recipe, name) == getattr(released, name) for name in (*sizes, *more)) else ""


def _published(kind: type[R]) -> R:
    recipe = PUBLISHED[NAME][kind.stage]
    if not isinstance(recipe, kind):
        raise TypeError(f"the preset's {kind.stage} recipe is none")
    return recipe


def _fill(blank: M, make: Callable[[], M], parts: Parts) -> M:
    """A network with the file's tensors in it, compared with one without memory before it is made."""
    wanted = blank.state_dict()
    known = {name: theirs for name in wanted if (theirs := theirs_of(name, parts.table)) != name}
    given = {}
    for name, theirs in known.items():
        if name not in parts.tensors:
            raise WorkbenchError(f"the file lacks '{theirs}'", _OTHER)
        given[name] = _shaped(theirs, parts.tensors[name], tuple(wanted[name].shape), cut=name.endswith(".places"))
    extra = sorted(parts.tensors.keys() - known.keys())
    if extra:
        raise WorkbenchError(f"the file holds one '{theirs_of(extra[0], parts.table)}' too many", _OTHER)
    net = make()
    checkpoint.load_into(net, net.state_dict() | given)
    net.eval().requires_grad_(False)
    return net


def _shaped(theirs: str, value: Tensor, shape: tuple[int, ...], *, cut: bool) -> Tensor:
    """The tensor without axes of length 1 that ours has not; of a table of places as many as are needed."""
    found = value
    while found.dim() > len(shape) and 1 in found.shape:
        found = found.squeeze(found.shape.index(1))
    if cut and found.dim() == len(shape) and len(found) > shape[0]:
        found = found[: shape[0]]
    if tuple(found.shape) != shape or not found.is_floating_point():
        raise _misshapen(theirs, value, f"not {shape}")
    found = found.float().clone()
    if not bool(torch.isfinite(found).all()):
        raise WorkbenchError(f"the file's '{theirs}' is not finite", _OTHER)
    return found


def _settle(book: nn.Module) -> None:
    """A book that is used as it is: it stands for what it says, and needs no first latents."""
    codes = book.get_buffer("codes_KD")
    book.get_buffer("total_KD").copy_(codes)
    book.get_buffer("started").fill_(True)


def _told(published: Published, name: str, otherwise: int) -> int:
    value = published.told.get(name, otherwise)
    good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST_TOLD
    return value if isinstance(value, int) and good else otherwise


def _misshapen(theirs: str, value: Tensor, why: str) -> WorkbenchError:
    return WorkbenchError(f"the file's '{theirs}' has the shape {tuple(value.shape)}, {why}", _OTHER)
