"""Small takes made of moving coloured blobs: a robot that carries, a hand that does the same without telling."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from models.recipes import ActVaeRecipe, NtpRecipe, RfRecipe
from models.registry import model_folder
from models.stages import RunSpec
from models.train_worker import run
from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo, arm_axes

COLOURS = {"red": (210, 40, 30), "blue": (30, 50, 210), "green": (40, 180, 60), "yellow": (225, 200, 30)}
GOALS = {"white": (240, 240, 240), "cyan": (20, 190, 200)}
WIDTH, HEIGHT = 96, 72
ROBOT, SKIN = (35, 35, 40), (200, 150, 120)
_STEP_NS = 100_000_000


@dataclass
class Story:
    """One run of the little task: hand path (T, 3) in metres, gripper 0..1 and where the things are."""

    instruction: str
    task: str
    colour: str
    goal: str
    path: np.ndarray
    gripper: np.ndarray
    thing: np.ndarray
    target_xy: np.ndarray = field(default_factory=lambda: np.zeros(2))


def make_story(seed: int) -> Story:
    """Go to the thing, close, carry it to the goal, open, leave; about 3 seconds at 10 Hz."""
    rng = np.random.default_rng(seed)
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    goal = list(GOALS)[rng.integers(len(GOALS))]
    start, thing, target = (np.append(rng.uniform(-0.15, 0.15, 2), z) for z in (0.12, 0.02, 0.03))
    over_thing, over_target = (place + np.array([0, 0, 0.08]) for place in (thing, target))
    legs = [(start, over_thing, 1), (over_thing, thing, 1), (thing, thing, 0), (thing, over_thing, 0)]
    legs += [(over_thing, over_target, 0), (over_target, target, 0), (target, target, 1), (target, over_target, 1)]
    path, gripper = [start], [1.0]
    speed = rng.uniform(0.03, 0.05)
    for begin, end, grip in legs:
        steps = max(2, int(np.ceil(np.linalg.norm(end - begin) / speed)))
        path += [begin + (end - begin) * (i + 1) / steps for i in range(steps)]
        gripper += [float(grip)] * steps
    path, gripper = np.array(path), np.array(gripper)
    held = np.cumsum(np.abs(np.diff(gripper, prepend=1.0))) > 0
    after = np.cumsum(np.abs(np.diff(gripper, prepend=1.0))) > 1
    place = np.where(held[:, None] & ~after[:, None], path, thing)
    place[after] = target
    name = f"{colour}_to_{goal}"
    return Story(f"put the {colour} cube on the {goal} plate", name, colour, goal, path, gripper, place, target[:2])


def draw(story: Story, k: int, hand: tuple[int, int, int], sleeve: tuple[int, int, int], view: str) -> np.ndarray:
    """The scene from above (front) or seen from the hand (wrist)."""
    picture = np.full((HEIGHT, WIDTH, 3), (120, 112, 104), np.uint8)
    middle = story.path[k, :2] if view == "wrist" else np.zeros(2)
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    x, y = (xx / WIDTH - 0.5) * 0.5 + middle[0], (yy / HEIGHT - 0.5) * 0.5 + middle[1]

    def blob(at: np.ndarray, size: float, colour: tuple[int, int, int]) -> None:
        picture[(np.abs(x - at[0]) < size) & (np.abs(y - at[1]) < size)] = colour

    blob(story.target_xy, 0.045, GOALS[story.goal])
    blob(story.thing[k, :2], 0.022, COLOURS[story.colour])
    lift = story.path[k, 2]
    wide = 0.012 + 0.012 * story.gripper[k]
    for side in (-1.0, 1.0):
        blob(story.path[k, :2] + [side * wide * 1.5, -0.25 * lift], 0.012, hand)
    picture[(np.abs(x - story.path[k, 0]) < 0.015) & (y < story.path[k, 1] - 0.02 - 0.25 * lift)] = sleeve
    return picture


def write_take(home: Home, seed: int, kind: EpisodeKind = EpisodeKind.TELEOP, **changes: object) -> str:
    """Record a story as a take; returns its id. ``changes``: outcome, looks (random robot colours), axes_prefix."""
    story = make_story(seed)
    rng = np.random.default_rng([seed, 7])
    human = kind is EpisodeKind.HUMAN
    looks = [tuple(int(v) for v in rng.integers(20, 235, 3)) for _ in range(2)]
    hand, sleeve = looks if changes.get("looks") else ((SKIN, (70, 80, 150)) if human else (ROBOT, (150, 150, 155)))
    specs = [
        StreamSpec("observation.images.front", (HEIGHT, WIDTH, 3), "uint8", rate_hz=10.0),
        StreamSpec("observation.images.wrist", (HEIGHT, WIDTH, 3), "uint8", rate_hz=10.0),
    ]
    axes = arm_axes(6)
    if not human:
        specs += [StreamSpec(n, (14,), "float32", "SI", 10.0, axes) for n in ("observation.state", "action")]
    info = TakeInfo(kind, story.task, story.instruction, clock="lockstep")
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(rows_hz=10.0, sync=False))
    for k in range(len(story.path)):
        t = 1_000_000_000 + k * _STEP_NS
        for view in ("front", "wrist"):
            writer.append(f"observation.images.{view}", Frame(k, t, t, 0, draw(story, k, hand, sleeve, view)))
        if not human:
            ahead = min(k + 1, len(story.path) - 1)
            # What is sent for time t is where the hand should be now; the hand lags a little behind.
            state = np.concatenate([np.zeros(6), [story.gripper[k]], story.path[max(k - 1, 0)] * 0.1, [1, 0, 0, 0]])
            state[7:10] += 0.9 * story.path[k]
            action = np.concatenate([np.zeros(6), [story.gripper[ahead]], story.path[k], [1, 0, 0, 0]])
            writer.append("observation.state", Frame(k, t, t, 0, state.astype(np.float32)))
            writer.append("action", Frame(k, t, t, 0, action.astype(np.float32)))
    outcome = changes.get("outcome", Outcome.SUCCESS)
    assert isinstance(outcome, Outcome)
    return writer.seal(outcome).id


@dataclass
class Set:
    home: Home
    robot: tuple[str, ...]
    human: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return self.robot + self.human


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Set:
    """Twelve robot takes and six human clips. Shared by all tests: read only (models and runs may be added).

    Their ids are fixed, because an id decides whether a take is held out.
    """
    home = Home.open(Path(tmp_path_factory.mktemp("home")))
    ids = (f"{number:032x}" for number in range(1, 100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.writer.new_id", lambda **_: next(ids))
        robot = tuple(write_take(home, seed, looks=seed % 2 == 1) for seed in range(12))
        human = tuple(write_take(home, 100 + seed, EpisodeKind.HUMAN) for seed in range(6))
    return Set(home, robot, human)


@pytest.fixture(scope="session")
def small_policy(small_set: Set) -> Path:
    """The folder of a CLAP-RF model that has learned next to nothing, with chunks of four actions."""
    small = {"steps": 3, "batch": 16, "width": 16, "layers": 1, "horizon_s": 0.4}
    bases: dict[str, str] = {}
    for recipe in (ActVaeRecipe(codes=8, tokens=2, **small), NtpRecipe(**small), RfRecipe(flow_width=16, **small)):
        spec = RunSpec(recipe.stage, recipe, small_set.robot[:3], small_set.home.path, dict(bases))
        assert run(spec.write(), resume=False) == 0
        bases[recipe.stage] = spec.model_id
    return model_folder(small_set.home, bases["rf"])
