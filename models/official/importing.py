"""A published checkpoint becomes a model of this data folder, with what is known of it and what it is good for here.

An imported codec speaks the release's numbers (see ``normalize.to_published``) in the scale of the robot at hand, which
is measured on the takes there are. An imported alignment stands on the codec out of its own file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import bundle, checkpoint
from models.act_vae import ActVae, chunk_errors, code_figures
from models.data import Windows
from models.encoders import ENCODERS
from models.normalize import ActionScaler
from models.official.convert import convert_alignment, convert_codec, preset_of, what_was_left
from models.official.reading import Published, read_published
from models.official.scales import scales_in, scales_of_file
from models.official.space_time import SpaceTimeVae
from models.recipes import ActVaeRecipe, VdVaeRecipe
from models.registry import list_models
from models.stages import RunSpec
from models.takes import STATION, Takes, load_takes
from models.train import Result
from models.vision import PatchEncoder
from storage.layout import Home
from workbench.core.errors import WorkbenchError

STAGES = ("act_vae", "vd_vae")
PATCHES = 300  # of a picture of 240 x 320 pixels, as the release looks at it
_MOST_WINDOWS = 512
_POOR = 0.5  # of the error of always saying the mean chunk
_PROBE = np.zeros((240, 320, 3), dtype=np.uint8)
_NETWORKS = ("dinov2", "dinov3")
_FIRST_WEIGHTS, _SAME = "dino_encoder.patch_embed.proj.weight", 1e-3
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        file: the checkpoint.
        stage: ``act_vae`` or ``vd_vae``.
        episodes: robot takes to measure scale and error on.
        statistics: a file with the scales of more robots, or None.
        encoder: where the picture network lies that the alignment looks through, see ``vision.Config.source``.
        camera: whose pictures the alignment reads.
    """

    file: Path
    stage: str
    episodes: Sequence[str] = ()
    statistics: Path | None = None
    encoder: str = ""
    camera: str = "front"


@dataclass(frozen=True, slots=True)
class _Aligned:
    """A converted alignment, the encoder it looks through and what is not known of the two."""

    recipe: VdVaeRecipe
    net: SpaceTimeVae
    encoder: PatchEncoder
    unsure: tuple[str, ...]


def import_model(home: Home, wanted: Wanted, tell: Tell = lambda *_: None) -> dict[str, Any]:
    """Convert a checkpoint and put the model into the data folder.

    Returns plain values: ``model``, ``stage``, ``codec`` (id of the Act-VAE that it is or stands on) and ``imported``
    (what is known of it, as in its record). WorkbenchError says why it cannot be; then no model was made.
    """
    if wanted.stage not in STAGES:
        raise WorkbenchError(f"no checkpoint of the stage '{wanted.stage}' can be imported", "Only act_vae and vd_vae")
    tell("Reading the checkpoint", 0, 4)
    published = read_published(wanted.file.expanduser())
    tell("Converting it", 1, 4)
    recipe, net = convert_codec(published)
    aligned = _aligned(published, wanted, net) if wanted.stage == "vd_vae" else None
    tell("Measuring it on this station's takes", 2, 4)
    codec = _codec(home, wanted, published, recipe, net)
    tell("Writing the model", 3, 4)
    model = codec if aligned is None else _write_alignment(home, published, codec, aligned)
    record = next(record for record in list_models(home, wanted.stage) if record.id == model)
    return {"model": model, "stage": wanted.stage, "codec": codec, "imported": dict(record.metrics["imported"])}


def _imported_before(home: Home, published: Published, robots: Iterable[str]) -> str:
    """The codec that was made from this very file before and knows these robots, or ""."""
    for record in list_models(home, "act_vae"):
        told = record.metrics.get("imported")
        if (
            isinstance(told, dict)
            and told.get("sha256") == published.sha256
            and set(robots) <= set(told.get("robots", ()))
        ):
            return record.id
    return ""


def _codec(home: Home, wanted: Wanted, published: Published, recipe: ActVaeRecipe, net: ActVae) -> str:
    """The id of the codec, written unless it is there already."""
    released = scales_in(published, recipe.horizon)
    if wanted.statistics is not None:
        released |= scales_of_file(wanted.statistics.expanduser(), recipe.horizon)
    takes = load_takes(home, wanted.episodes, None, recipe.cameras, recipe.step_s)
    windows = _windows(takes, recipe)
    scalers = _own_scales(windows) | released if windows else released
    if not scalers:
        raise WorkbenchError(
            "nothing says how large this robot's actions are: the file holds no scales and there is no robot take",
            "Record demonstrations first, or name a file of scales with --statistics",
        )
    if known := _imported_before(home, published, scalers):
        return known
    metrics = _measured(net, windows, scalers) if windows else {}
    uses = [
        f"turns {recipe.horizon} actions at {1 / recipe.step_s:.0f} Hz into {recipe.tokens} tokens and back",
        "carries policies and alignments of the preset clap-l32, which have its time grid",
    ]
    limits = [
        f"knows the robots {', '.join(sorted(scalers))}; import the file again after recording another one",
        "rotations are Euler angles, so policies on it are not written as ONNX",
    ]
    if metrics and metrics["rmse_mm"] > _POOR * metrics["mean_chunk_rmse_mm"]:
        errors = f"{metrics['rmse_mm']:.0f} mm, always the mean chunk {metrics['mean_chunk_rmse_mm']:.0f} mm"
        limits.append(f"is of little use for the takes here: its error on them is {errors}; train a codec of your own")
    seen = len({take.episode_id for take in takes})
    metrics["imported"] = _about(published, uses, limits, takes=seen, robots=sorted(scalers))
    spec = RunSpec("act_vae", recipe, (), home.path, run_id="", preset=preset_of(recipe))
    meta = {"scalers": {name: scaler.to_json() for name, scaler in scalers.items()}}
    bundle.save_model(spec, home, checkpoint.with_prefix("net", net.state_dict()), meta, Result(metrics, {}), Takes())
    return spec.model_id


def _windows(takes: Takes, recipe: ActVaeRecipe) -> Windows | None:
    """All windows of the robot takes, or None if there are none."""
    try:
        return Windows(takes, recipe.horizon, pictures=False, held_out=0.0)
    except WorkbenchError:
        return None


def _own_scales(windows: Windows) -> dict[str, ActionScaler]:
    """Of every robot among the takes, by its source; as the release, over all steps alike."""
    every = windows.train.index["robot"]
    found = {}
    for source in dict.fromkeys(take.source for take in windows.takes):
        mine = windows.windows_of(source, every).numpy()
        if len(mine):
            found[source] = ActionScaler.fit(windows.physical_WH7[mine], published=True)
    return found


def _measured(net: ActVae, windows: Windows, scalers: dict[str, ActionScaler]) -> dict[str, Any]:
    """What the codec makes of takes that it never saw; the station's, else those of the first robot."""
    sources = [take.source for take in windows.takes]
    source = STATION if STATION in sources else sources[0]
    mine = windows.windows_of(source, windows.train.index["robot"])
    mine = mine[:: max(1, len(mine) // _MOST_WINDOWS)]
    true, scaler = windows.physical_WH7[mine.numpy()], scalers[source]
    tokens = net.encode(torch.from_numpy(scaler.normalise(true)))[1]
    decoded = scaler.invert(net.decode(tokens).numpy())
    mean = chunk_errors(np.broadcast_to(true.mean(axis=0), true.shape), true)["rmse_mm"]
    figures = {**chunk_errors(decoded, true), "mean_chunk_rmse_mm": mean, "windows": len(true), "source": source}
    return {**figures, **code_figures(tokens, len(net.codebook)), "held_out": True}


def _aligned(published: Published, wanted: Wanted, codec: ActVae) -> _Aligned:
    """The converted alignment and its encoder. WorkbenchError if that is not the one it was made on."""
    told = published.told.get("dino_model_type", "dinov3")
    kind = told if isinstance(told, str) and told in _NETWORKS else "dinov3"
    if not wanted.encoder:
        raise WorkbenchError(
            "an alignment looks through a picture network that lies in a folder of its own",
            "Say where with --encoder FOLDER; the release used DINOv3 ViT-B/16",
        )
    encoder = ENCODERS.build(kind, source=wanted.encoder, clusters=PATCHES, layout="patches")
    if not isinstance(encoder, PatchEncoder):
        raise TypeError(f"the encoder {kind} is no network over patches")
    encoder.fit([_PROBE], 0)
    recipe, net = convert_alignment(published, codec, PATCHES)
    if encoder.shape != net.shape[1:]:
        raise WorkbenchError(
            f"the picture network describes a patch by {encoder.shape[1]} numbers, the alignment reads {net.shape[2]}",
            "Name the folder of the network it was made on; the release used DINOv3 ViT-B/16",
        )
    unsure = _compared(published, encoder)
    return _Aligned(recipe.with_(cameras=(wanted.camera,), encoder=kind), net, encoder, unsure)


def _compared(published: Published, encoder: PatchEncoder) -> tuple[str, ...]:
    """Nothing if the picture network is the one in the file, a clause if the file does not tell.

    WorkbenchError if it is another one.
    """
    theirs, ours = published.tensors.get(_FIRST_WEIGHTS), encoder.first_weights()
    if theirs is None:
        return ("the file does not tell which weights its picture network had, so they could not be compared",)
    if theirs.shape != ours.shape or float(np.abs(theirs.float().numpy() - ours).max()) > _SAME:
        raise WorkbenchError(
            "the alignment was made on a picture network of other weights than those in the folder",
            "Name the folder of the weights that it was made on",
        )
    return ()


def _write_alignment(home: Home, published: Published, codec: str, aligned: _Aligned) -> str:
    started = time.perf_counter()
    aligned.encoder.encode(_PROBE)
    spent = time.perf_counter() - started
    uses = ["reads the tokens of movements off people's takes, for training CLAP-NTP on it and its codec"]
    limits = [
        f"reads one camera, '{aligned.recipe.cameras[0]}', and one arm: the last of {aligned.recipe.arms}",
        "does not read depth, so paths of tips are not used",
        f"looks at a picture for {spent:.2f} s on this machine; takes are read once and kept",
        "is not trained on here",
        *aligned.unsure,
    ]
    metrics = {"imported": _about(published, uses, limits, seconds_per_picture=round(spent, 3))}
    net, recipe = aligned.net, aligned.recipe
    spec = RunSpec("vd_vae", recipe, (), home.path, {"act_vae": codec}, run_id="", preset=preset_of(recipe))
    meta = {"cameras": list(recipe.cameras)}
    tensors = checkpoint.with_prefix("net", net.state_dict())
    bundle.save_model(spec, home, tensors, meta, Result(metrics, {}), Takes(), encoder=aligned.encoder)
    return spec.model_id


def _about(published: Published, uses: Sequence[str], limits: Sequence[str], **more: Any) -> dict[str, Any]:
    file = {"file": published.name, "bytes": published.bytes, "sha256": published.sha256}
    return {**file, "left_out": what_was_left(published), "uses": list(uses), "limits": list(limits), **more}
