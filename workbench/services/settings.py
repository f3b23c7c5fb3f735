"""What this station is made of: `station.toml` resolved once into a frozen object.

Command line > environment > file > default. Without a file the station is the simulated one, so that everything can be
tried with nothing attached.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from hardware.arm import Limits
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.tasks import TASKS
from models.exchange.layout import Layout
from models.exchange.presets import OWN, layout_of
from storage.quality_thresholds import Thresholds
from workbench.core.chunks import Blend
from workbench.core.errors import NotFoundError, WorkbenchError

FILE_NAME = "station.toml"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CameraSettings(_Part):
    """One camera: its name in stream names, its kind of plug-in and that kind's own options."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: str
    options: dict[str, Any] = {}


class ArmSettings(_Part):
    kind: str
    options: dict[str, Any] = {}


class TeleopSettings(_Part):
    kind: str = "keyboard"
    options: dict[str, Any] = {}


class LimitSettings(_Part):
    """See hardware.arm.Limits; what every station must state has no default."""

    joint_min_rad: tuple[float, ...]
    joint_max_rad: tuple[float, ...]
    joint_speed_rad_s: tuple[float, ...]
    joint_acceleration_rad_s2: tuple[float, ...]
    workspace_min_m: tuple[float, float, float]
    workspace_max_m: tuple[float, float, float]
    tool_speed_m_s: float
    gripper_speed_s: float
    jump_rad: float
    state_age_s: float
    table_z_m: float | None = None
    self_clearance_m: float | None = None
    obstacle_spheres_m: tuple[tuple[float, float, float, float], ...] | None = None
    obstacle_boxes_m: tuple[tuple[float, float, float, float, float, float], ...] | None = None
    effort_max: tuple[float, ...] | None = None

    def limits(self) -> Limits:
        """The guard's own type, checked."""
        return Limits(**self.model_dump())


class TaskSettings(_Part):
    """A task's short name and the sentence a person would say."""

    name: str
    instruction: str


class RecordSettings(_Part):
    """How takes are stored, and how much of what was not recorded can still be saved afterwards (0: nothing)."""

    color_codec: Literal["jpeg", "lossless"] = "jpeg"
    jpeg_quality: int = Field(default=90, ge=1, le=100)
    block_s: float = Field(default=1.0, gt=0, le=10)
    rows_hz: float = Field(default=30.0, gt=0, le=1000)
    remember_s: float = Field(default=30.0, ge=0, le=600)
    remember_mb: int = Field(default=400, ge=1, le=16000)


class UpkeepSettings(_Part):
    """What is done with sealed takes in the background while the window is open; for archiving see ``ArchivePart``."""

    assess: bool = True
    archive: bool = False


class ArchivePart(_Part):
    """How takes are archived, see ``storage.recoding.ArchiveSettings``; in the background after ``after_days``."""

    frames: int = Field(default=12, ge=1, le=120)
    crf: int = Field(default=19, ge=0, le=51)
    better_crf: int = Field(default=13, ge=0, le=51)
    least_psnr_db: float = Field(default=34.0, ge=0, le=99)
    least_ssim: float = Field(default=0.92, ge=-1, le=1)
    jxl_effort: int = Field(default=2, ge=1, le=9)
    after_days: float = Field(default=30.0, ge=0)


class RuntimeSettings(_Part):
    """How a policy's chunks are executed: see ``inference.Playback`` and ``models.observing.Observer``."""

    blend: Blend = Blend.RTC
    fade_s: float = Field(default=0.2, gt=0, le=1)
    execute_s: float = Field(default=0.2, gt=0, le=10)
    skew_s: float = Field(default=0.15, gt=0, le=1)


class PolicySettings(_Part):
    """A policy server that this station asks; see ``models.exchange.layout`` for what ``keys`` may change.

    The token never stands in manifests. ``certificate`` is the file with what a ``wss`` server must show.
    """

    url: str = ""
    token: SecretStr = SecretStr("")
    certificate: str = ""
    layout: str = OWN
    keys: dict[str, Any] = {}
    connect_s: float = Field(default=10.0, gt=0, le=600)
    warm_up_s: float = Field(default=120.0, gt=0, le=3600)
    answer_s: float = Field(default=2.0, gt=0, le=60)

    @model_validator(mode="after")
    def _known_layout(self) -> PolicySettings:
        try:
            self.names()
        except WorkbenchError as error:
            raise ValueError(str(error)) from error
        return self

    def names(self) -> Layout:
        """The layout with its changes."""
        return layout_of(self.layout, self.keys)


class Settings(_Part):
    """The whole station."""

    station: str = "simulated"
    operator: str = ""
    scene: str = ""
    simulated: bool = False
    cameras: tuple[CameraSettings, ...] = ()
    arm: ArmSettings | None = None
    teleop: TeleopSettings = TeleopSettings()
    limits: LimitSettings | None = None
    control_hz: float = Field(default=100.0, gt=0, le=1000)
    tasks: tuple[TaskSettings, ...] = ()
    record: RecordSettings = RecordSettings()
    upkeep: UpkeepSettings = UpkeepSettings()
    archive: ArchivePart = ArchivePart()
    runtime: RuntimeSettings = RuntimeSettings()
    policy: PolicySettings = PolicySettings()
    quality: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}

    @field_validator("quality")
    @classmethod
    def _known_thresholds(cls, changes: dict[str, float]) -> dict[str, float]:
        try:
            Thresholds.with_changes(changes)
        except NotFoundError as error:
            raise ValueError(str(error)) from error
        return changes

    def thresholds(self) -> Thresholds:
        """From which figure on a take is flagged; the section ``[quality]`` changes single ones."""
        return Thresholds.with_changes(self.quality)

    def instruction(self, task: str) -> str:
        """The sentence of a task; NotFoundError with the nearest name if there is none."""
        for entry in self.tasks:
            if entry.name == task:
                return entry.instruction
        raise NotFoundError.of("task", task, (entry.name for entry in self.tasks))

    def plain(self) -> dict[str, Any]:
        """JSON values, for manifests and child processes; ``Settings(**plain)`` inverts it."""
        return self.model_dump(mode="json")


def simulated_settings() -> Settings:
    """The station that needs no hardware: two 640x480 cameras at 30 Hz, a UR5e with a parallel gripper."""
    size = {"width": 640, "height": 480, "rate_hz": 30.0}
    return Settings(
        simulated=True,
        scene="simulated table",
        cameras=(
            CameraSettings(name="front", kind="simulated", options={"camera": "front", "depth": True, **size}),
            CameraSettings(name="wrist", kind="simulated", options={"camera": "wrist", "depth": False, **size}),
        ),
        arm=ArmSettings(kind="simulated"),
        limits=LimitSettings(**_limit_fields(DEFAULT_LIMITS)),
        tasks=tuple(TaskSettings(name=task.name, instruction=task.instruction) for task in TASKS.values()),
    )


def load_settings(home: Path, overrides: dict[str, Any] | None = None) -> Settings:
    """Read ``<home>/station.toml``; the simulated station if there is none. ``overrides`` win over the file."""
    path = home / FILE_NAME
    if not path.exists():
        base = simulated_settings()
        return _validated({**base.model_dump(), **overrides}, path) if overrides else base
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise WorkbenchError(f"{path} cannot be read ({error})", "Correct the file or move it away") from error
    return _validated({**values, **(overrides or {})}, path)


def _validated(values: dict[str, Any], path: Path) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        raise WorkbenchError(f"{path} is not right: {_explain(error)}", "Correct it and start again") from error


def _explain(error: ValidationError) -> str:
    """One clause for the first problem; a wrong key is answered with the nearest right one."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"'{where}': {first['msg'].lower()}"
    known = {name for part in _Part.__subclasses__() for name in part.model_fields}
    near = difflib.get_close_matches(str(first["loc"][-1]), sorted(known), n=1)
    return f"'{where}' is not a setting" + (f", did you mean '{near[0]}'?" if near else "")


def _limit_fields(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in LimitSettings.model_fields}
