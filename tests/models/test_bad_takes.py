"""An alignment over takes as they come: a camera missing, other rates, single pictures, broken and constant numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import explain, train_worker
from models.recipes import preset
from models.stages import RunSpec
from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo, arm_axes

SECONDS = 3.0
AXES = arm_axes(6)


def odd_take(
    home: Home,
    seed: int,
    kind: EpisodeKind = EpisodeKind.TELEOP,
    *,
    cameras: tuple[str, ...] = ("front", "wrist"),
    picture_hz: float = 10.0,
    state_hz: float = 25.0,
    pictures: int = 10_000,
    depth: bool = False,
    moves: bool = True,
    broken: slice = slice(0, 0),
) -> str:
    """An arm and a red spot going somewhere; every stream at its own rate. Returns the take's id."""
    rng = np.random.default_rng(seed)
    way = rng.uniform(-0.2, 0.2, 3) * moves
    specs = [StreamSpec(f"observation.images.{name}", (36, 48, 3), "uint8", rate_hz=picture_hz) for name in cameras]
    specs += [StreamSpec("observation.depth.front", (36, 48), "uint16", "mm", picture_hz)] if depth else []
    vectors = [StreamSpec(n, (14,), "float32", "SI", state_hz, AXES) for n in ("observation.state", "action")]
    arm = [] if kind is EpisodeKind.HUMAN else vectors
    info = TakeInfo(kind, "reach", "reach somewhere", clock="lockstep")
    writer = EpisodeWriter.create(home, info, [*specs, *arm], settings=StoreSettings(rows_hz=10.0, sync=False))
    for spec in specs:
        for k in range(min(pictures, round(SECONDS * picture_hz))):
            t_ns = round(1e9 + k * 1e9 / picture_hz)
            share = k / (SECONDS * picture_hz)
            if spec.dtype == "uint16":
                writer.append(spec.name, Frame(k, t_ns, t_ns, 0, np.full(spec.shape, 700, np.uint16)))
                continue
            picture = np.full(spec.shape, 100, np.uint8)
            x, y = (np.array([24, 18]) + 60 * way[:2] * share).astype(int)
            picture[y - 4 : y + 4, x - 4 : x + 4] = (220, 30, 30)
            writer.append(spec.name, Frame(k, t_ns, t_ns, 0, picture))
    count = round(SECONDS * state_hz)
    numbers = np.zeros((count, 14), np.float32)
    numbers[:, 6] = 1.0 if not moves else np.arange(count) < count / 2
    numbers[:, 7:10] = 0.3 + way * np.linspace(0, 1, count)[:, None]
    numbers[:, 10] = 1.0
    numbers[broken] = np.nan
    for spec in arm:
        for k, row in enumerate(numbers):
            t_ns = round(1e9 + k * 1e9 / state_hz)
            writer.append(spec.name, Frame(k, t_ns, t_ns, 0, row))
    return writer.seal(Outcome.SUCCESS).id


def test_an_alignment_over_odd_takes_leaves_out_what_it_must_and_stays_finite(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    home = Home.open(tmp_path)
    good = [odd_take(home, seed) for seed in range(5)]
    good += [odd_take(home, 5, cameras=("front",)), odd_take(home, 6, cameras=("wrist",))]
    good += [odd_take(home, 7, picture_hz=5.0, state_hz=50.0), odd_take(home, 8, picture_hz=30.0, state_hz=20.0)]
    good += [odd_take(home, 9, broken=slice(20, 23)), odd_take(home, 10, depth=True)]
    people = [odd_take(home, 20 + n, EpisodeKind.HUMAN, picture_hz=rate) for n, rate in enumerate((10.0, 15.0, 30.0))]
    bad = {
        "arms with broken numbers": odd_take(home, 30, broken=slice(5, 70)),
        "arms that never move": odd_take(home, 31, moves=False),
        "human clips without usable pictures": odd_take(home, 32, EpisodeKind.HUMAN, pictures=1),
        "takes shorter than four steps": odd_take(home, 33, EpisodeKind.HUMAN, pictures=3),
    }
    takes = (*good, *people, *bad.values())
    small = {"steps": 3, "batch": 32, "cameras": ("front", "wrist"), "report_every": 1}
    bases: dict[str, str] = {}
    for stage in ("act_vae", "vd_vae"):
        spec = RunSpec(stage, preset("tiny", stage, **small), takes, home.path, dict(bases))
        status = train_worker.run(spec.write(), resume=False)
        assert status == train_worker.DONE, (spec.folder / "status.json").read_text()
        bases[stage] = spec.model_id
    metrics = json.loads((spec.folder / "metrics.json").read_text())
    assert {reason: metrics["skipped"].get(reason) for reason in bad} == dict.fromkeys(bad, 1)
    assert sum(metrics["skipped"].values()) == len(bad)
    found = json.loads(explain.write(home, bases["vd_vae"], spec.folder).read_text())
    assert found["skipped"] == metrics["skipped"]
    sums = np.array(list(found["decoded"]["errors"].values()))
    assert np.isfinite(sums).all() and found["windows"] > 0 and found["human"]["windows"] > 0
    for line in (spec.folder / "progress.jsonl").read_text().splitlines():
        assert {"loss", "perplexity", "used_share"} <= json.loads(line).keys()


@pytest.mark.parametrize("kinds", [(EpisodeKind.HUMAN,), ()])
def test_without_robot_takes_the_reason_is_a_sentence(tmp_path: Path, kinds: tuple[EpisodeKind, ...]) -> None:
    """What a person reads when nothing is left to learn actions from."""
    home = Home.open(tmp_path)
    takes = [odd_take(home, n, kind) for n, kind in enumerate(kinds)] or ["0" * 32]
    spec = RunSpec("act_vae", preset("tiny", "act_vae", steps=2), tuple(takes), home.path)
    assert train_worker.run(spec.write(), resume=False) == train_worker.FAILED
    message = json.loads((spec.folder / "status.json").read_text())["message"]
    assert "no take" in message and "Record" in message and "Traceback" not in message
