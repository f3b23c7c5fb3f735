"""What a take says about itself: the attributes of its Zarr group, checked whenever they are read."""

from __future__ import annotations

import dataclasses
import datetime
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

import google_crc32c
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from storage.codecs import PictureCodec, codec_from_json, codec_to_json, is_picture
from storage.dense_codecs import frames_per_chunk
from storage.layout import FORMAT, FORMAT_VERSION, check_stream_name, is_episode_id
from workbench.core.errors import CorruptTakeError
from workbench.core.types import EpisodeKind, Outcome, StreamSpec


class NewerTakeError(CorruptTakeError):
    """A take written by a newer version of the program: nothing is wrong with it, but it cannot be read here."""


Gaps = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How takes are written.

    Attributes:
        color_codec: ``jpeg`` (see ``codecs``) or ``lossless`` (zstd).
        jpeg_quality: 1..100.
        block_s: a durable block is written about this often; also the length of a shard at the nominal rate.
        rows_hz: rate of the regular grid written at sealing.
        reserve_bytes: kept free beside the take while it is written, and given back when the disk is full, so that what
            was recorded can still be sealed. 0 for none.
        sync: wait for the disk after each block. False keeps the order of writes but not their durability: a killed
            process loses at most a block, a power cut may lose the take. Only for bulk recording in simulated time.
    """

    color_codec: Literal["jpeg", "lossless"] = "jpeg"
    jpeg_quality: int = 90
    block_s: float = 1.0
    rows_hz: float = 30.0
    reserve_bytes: int = 8 << 20
    sync: bool = True


@dataclass(frozen=True, slots=True)
class StreamLayout:
    """How one stream lies on disk: items per file, and the codec of pictures (None for vectors)."""

    per_file: int
    codec: PictureCodec | None

    @property
    def places(self) -> int:
        """Chunks per file: pictures, or pieces of video, which hold several."""
        return self.per_file // frames_per_chunk(self.codec)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A take's description.

    Attributes:
        counts: true items per stream; gaps: items known to be missing per stream.
        gap_positions: per stream (index, missing): ``missing`` items belong directly before item ``index``.
        rows: length of the regular grid at ``rows_hz``; duration_s: time it spans.
        started_at: ISO 8601, UTC.
        content_hash: SHA-256 over streams, times, gaps and rows, "" before sealing; labels and notes are not in it.
        sums: crc32c of the true bytes of each column (its path below the take), so that each reading notices damage;
            DAMAGED for a column that was damaged before sealing. Pictures carry their own.
    """

    id: str
    kind: EpisodeKind
    task: str
    instruction: str
    operator: str
    scene: str
    station: str
    clock: str
    outcome: Outcome
    notes: str
    streams: dict[str, StreamSpec]
    counts: dict[str, int]
    gaps: dict[str, int]
    rows: int
    rows_hz: float
    duration_s: float
    started_at: str
    content_hash: str
    sealed: bool
    devices: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    gap_positions: dict[str, Gaps] = field(default_factory=dict)
    layout: dict[str, StreamLayout] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The group's attributes with their own checksum; ``from_json`` inverts it."""
        plain = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        plain["kind"], plain["outcome"] = str(self.kind), str(self.outcome)
        plain["streams"] = {name: spec.to_json() for name, spec in self.streams.items()}
        plain["gap_positions"] = {name: [list(gap) for gap in gaps] for name, gaps in self.gap_positions.items()}
        plain["layout"] = {
            name: {"per_file": item.per_file, "codec": item.codec and codec_to_json(item.codec)}
            for name, item in self.layout.items()
        }
        whole = {"format": FORMAT, "format_version": FORMAT_VERSION, **plain}
        return {**whole, "crc32c": _checksum(whole)}

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """Check untrusted attributes; CorruptTakeError says what is wrong."""
        version = value.get("format_version") if isinstance(value, dict) else None
        if isinstance(value, dict) and value.get("crc32c", _checksum(value)) != _checksum(value):
            raise CorruptTakeError("the take's manifest does not match its checksum", _DOCTOR)
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise NewerTakeError(f"the take was written by a newer version (format {version})", "Update the program")
        try:
            checked = _ManifestText.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "manifest"
            raise CorruptTakeError(f"the take's manifest is wrong at {where}: {first['msg']}", _DOCTOR) from error
        return checked.manifest()


def _checksum(attributes: dict[str, Any]) -> int:
    """crc32c of the compact JSON text of everything but the checksum itself."""
    plain = {name: value for name, value in attributes.items() if name != "crc32c"}
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=repr)
    return int(google_crc32c.value(text.encode(errors="surrogatepass")))


DAMAGED = -1
_DOCTOR = "Run `python main.py doctor`"
_Text = Annotated[str, Field(max_length=20_000)]
_Count = Annotated[int, Field(ge=0, le=100_000_000)]
_Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _StreamText(_Strict):
    name: str
    shape: Annotated[list[Annotated[int, Field(ge=1, le=8192)]], Field(min_length=1, max_length=3)]
    dtype: Literal["uint8", "uint16", "int16", "int32", "int64", "float32", "float64"]
    unit: Annotated[str, Field(max_length=64)] = ""
    rate_hz: _Positive = 30.0
    axes: list[Annotated[str, Field(max_length=128)]] = []

    def spec(self) -> StreamSpec:
        check_stream_name(self.name)
        return StreamSpec(self.name, tuple(self.shape), self.dtype, self.unit, self.rate_hz, tuple(self.axes))


class _LayoutText(_Strict):
    per_file: Annotated[int, Field(ge=1, le=100_000)]
    codec: dict[str, bool | str | int] | None

    def layout(self) -> StreamLayout:
        return StreamLayout(self.per_file, None if self.codec is None else codec_from_json(self.codec))


class _ManifestText(_Strict):
    format: Literal["clap-workbench-take"]
    format_version: Literal[1]
    id: str
    kind: Literal["human", "teleop", "rollout", "imported"]
    task: _Text
    instruction: _Text
    operator: _Text
    scene: _Text
    station: _Text
    clock: Literal["realtime", "lockstep"]
    outcome: Literal["unlabelled", "success", "failure"]
    notes: _Text
    streams: Annotated[dict[str, _StreamText], Field(max_length=256)]
    counts: dict[str, _Count]
    gaps: dict[str, _Count]
    rows: _Count
    rows_hz: _Positive
    duration_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    started_at: Annotated[str, Field(max_length=64)]
    content_hash: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    sealed: bool
    devices: dict[str, Any]
    settings: dict[str, Any]
    extra: dict[str, Any]
    gap_positions: dict[str, list[Annotated[list[_Count], Field(min_length=2, max_length=2)]]]
    layout: dict[str, _LayoutText]
    sums: dict[str, Annotated[int, Field(ge=DAMAGED, lt=1 << 32)]] = {}
    crc32c: int = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not is_episode_id(self.id):
            raise ValueError("the id is not 32 hexadecimal digits")
        if datetime.datetime.fromisoformat(self.started_at).tzinfo is None:
            raise ValueError("the start time has no time zone")
        names = set(self.streams)
        for part in (self.counts, self.gaps, self.gap_positions, self.layout):
            if set(part) != names:
                raise ValueError("its parts name different streams")
        for name, stream in self.streams.items():
            if stream.name != name:
                raise ValueError(f"stream {name!r} calls itself {stream.name!r}")
            if any(index > self.counts[name] for index, _ in self.gap_positions[name]):
                raise ValueError(f"a gap of {name!r} lies outside the take")
            if sum(missing for _, missing in self.gap_positions[name]) != self.gaps[name]:
                raise ValueError(f"the gaps of {name!r} do not add up")
        return self

    def manifest(self) -> Manifest:
        """The checked values as the frozen dataclass that the program uses."""
        plain = {name: getattr(self, name) for name in Manifest.__dataclass_fields__}
        plain["kind"], plain["outcome"] = EpisodeKind(self.kind), Outcome(self.outcome)
        plain["streams"] = {name: stream.spec() for name, stream in self.streams.items()}
        plain["gap_positions"] = {
            name: tuple((index, missing) for index, missing in gaps) for name, gaps in self.gap_positions.items()
        }
        plain["layout"] = {name: item.layout() for name, item in self.layout.items()}
        for name, spec in plain["streams"].items():
            if is_picture(spec) != (plain["layout"][name].codec is not None):
                raise CorruptTakeError(f"the layout of {name!r} does not fit its shape", _DOCTOR)
        return Manifest(**plain)
