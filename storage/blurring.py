"""Making people in a take unrecognisable: a new take in which faces are blurred; the one before stays as it was.

Pictures without a face, depth, numbers and times are copied as they are stored. What was blurred where stands in the
copy's ``extra["faces"]``: ``{"of": id, "detector", "streams": {name: [[first, last, left, top, right, bottom]]}}``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storage import marks
from storage.codecs import JpegCodec, choose_codec, is_photograph
from storage.copying import Part, stored_pictures, write_copy
from storage.dense_codecs import VideoCodec
from storage.face_regions import Find, Look, Region, blur, boxes_at, covered, pictures_in, regions
from storage.layout import Home
from storage.manifest import Manifest, StreamLayout
from storage.reader import Episode
from workbench.core.errors import StateError
from workbench.core.files import new_id
from workbench.core.types import StreamSpec

Tick = Callable[[int], None]
LOOKS_HZ = 10.0  # a head does not move far in a tenth of a second; regions cover what lies between
REACH_S = 0.8  # a face that is missed for so long is taken to have been there
_ARCHIVED_QUALITY = JpegCodec().quality
_NOT_OF_THE_COPY = (marks.QUALITY, marks.TRIAL, marks.ARCHIVE)


class Finder(Protocol):
    """Finds faces in one picture."""

    @property
    def name(self) -> str:
        """Which detector, with its version."""

    def find(self, picture: NDArray[np.uint8]) -> list[Find]:
        """Every face of an (H, W, 3) RGB or (H, W) grey picture, cut to its edges."""


@dataclass(frozen=True, slots=True)
class FacesFound:
    """What was seen in one take.

    Attributes:
        content_hash: of the take that was looked at.
        streams: what has to be blurred, by stream; those without a face are left out.
        looked: pictures that were looked at. pictures: of all streams together, how many have to be blurred.
        detector: what looked.
    """

    episode_id: str
    content_hash: str
    detector: str
    looked: int = 0
    streams: dict[str, tuple[Region, ...]] = field(default_factory=dict)

    @property
    def pictures(self) -> int:
        return sum(covered(found) for found in self.streams.values())

    def to_json(self) -> dict[str, Any]:
        """As the new take's manifest keeps it."""
        streams = {name: [region.to_json() for region in found] for name, found in self.streams.items()}
        return {"of": self.episode_id, "detector": self.detector, "streams": streams}


def pictures_to_look_at(manifest: Manifest) -> int:
    """How often ``look_for_faces`` ticks."""
    return sum(len(_looked_at(spec, manifest.counts[name])) for name, spec in _photographs(manifest).items())


def pictures_to_write(manifest: Manifest) -> int:
    """How often ``write_blurred`` ticks."""
    return sum(manifest.counts[name] for name, layout in manifest.layout.items() if layout.codec is not None)


def look_for_faces(take: Episode, finder: Finder, tick: Tick) -> FacesFound:
    """Look through the colour pictures of a take, about ten of each second, the first and the last one always.

    Args:
        tick: called with the number of pictures looked at since the last call; what it raises ends the work.

    Raises CorruptTakeError for a picture that cannot be read: nobody can say whose face is in it.
    """
    manifest, looked, streams = take.manifest, 0, {}
    for name, spec in _photographs(manifest).items():
        numbers = _looked_at(spec, manifest.counts[name])
        looks = list(_looks(take, name, numbers, finder, tick))
        reach = max(1, round(REACH_S * spec.rate_hz))
        found = regions(looks, manifest.counts[name], reach, (spec.shape[0], spec.shape[1]))
        looked += len(numbers)
        if found:
            streams[name] = found
    return FacesFound(manifest.id, manifest.content_hash, finder.name, looked, streams)


def blurred_example(take: Episode, found: FacesFound) -> tuple[str, int, NDArray[np.uint8]] | None:
    """Stream, number and (H, W, 3) or (H, W) of the picture in which most is blurred; None if nothing is."""
    every = [(region.box.area, name, region) for name, some in found.streams.items() for region in some]
    if not every:
        return None
    _, name, region = max(every, key=lambda item: item[0])
    index = (region.first + region.last) // 2
    return name, index, blur(take.read(name, index), boxes_at(found.streams[name], index))


def write_blurred(home: Home, found: FacesFound, tick: Tick) -> Manifest:
    """Write the take anew with its faces blurred, into the trash, from where the caller moves it; the take stays.

    Pictures in which nothing is blurred are copied byte for byte; those of an archived take are decoded and kept as
    JPEG, as its pieces of video cannot be changed in part. Nothing is left if ``tick`` raises.

    Raises:
        StateError: the take has changed since it was looked at.
        NotFoundError, CorruptTakeError: it cannot be read.
    """
    with Episode.open(home, found.episode_id) as take:
        manifest = take.manifest
        if manifest.content_hash != found.content_hash:
            raise StateError(f"the take {manifest.id} was changed since it was looked at", "Look at it again")
        draft = _draft(manifest, found)
        ranges = {name: (0, count) for name, count in manifest.counts.items()}
        return write_copy(home, draft, [Part(take, ranges)], _Painter(draft, found, tick))


def kept_remarks(manifest: Manifest) -> dict[str, Any]:
    """The remarks on a take that hold for its blurred copy, too."""
    return {key: value for key, value in manifest.extra.items() if key not in (*_NOT_OF_THE_COPY, marks.FACES)}


def blurred_of(extra: Mapping[str, Any]) -> FacesFound | None:
    """What was blurred in a take, by its remarks: of which one it is the copy, and where. None if nothing was."""
    told = extra.get(marks.FACES)
    streams = told.get("streams") if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping) or not isinstance(streams, Mapping):
        return None
    read = {
        str(name): tuple(region for region in map(Region.from_json, rows) if region is not None)
        for name, rows in streams.items()
        if isinstance(rows, list)
    }
    return FacesFound(str(told.get("of", "")), "", str(told.get("detector", "")), streams=read)


class _Painter:
    """Tells ``write_copy`` the bytes of every picture, blurred where that is needed."""

    def __init__(self, draft: Manifest, found: FacesFound, tick: Tick) -> None:
        self._draft = draft
        self._found = found
        self._tick = tick

    def __call__(self, parts: Sequence[Part], name: str) -> Iterator[bytes]:
        (part,) = parts
        anew = self._draft.layout[name] != part.take.manifest.layout[name]
        pictures = self._decoded(part, name) if anew else self._copied(parts, name)
        for payload in pictures:
            yield payload
            self._tick(1)

    def _copied(self, parts: Sequence[Part], name: str) -> Iterator[bytes]:
        found = self._found.streams.get(name, ())
        changed = pictures_in(found)
        for index, payload in enumerate(stored_pictures(parts, name)):
            yield self._encoded(parts[0], name, index) if index in changed else payload

    def _decoded(self, part: Part, name: str) -> Iterator[bytes]:
        for index in range(*part.ranges[name]):
            yield self._encoded(part, name, index)

    def _encoded(self, part: Part, name: str, index: int) -> bytes:
        codec = self._draft.layout[name].codec
        if codec is None:
            raise TypeError(f"{name} holds no pictures")
        picture = blur(part.take.read(name, index), boxes_at(self._found.streams.get(name, ()), index))
        return codec.encode(np.ascontiguousarray(picture))


def _photographs(manifest: Manifest) -> dict[str, StreamSpec]:
    return {name: spec for name, spec in manifest.streams.items() if is_photograph(spec)}


def _looked_at(spec: StreamSpec, count: int) -> list[int]:
    """Numbers of the pictures to look at."""
    numbers = list(range(0, count, max(1, int(spec.rate_hz / LOOKS_HZ))))
    return numbers if not count or numbers[-1] == count - 1 else [*numbers, count - 1]


def _looks(take: Episode, name: str, numbers: Sequence[int], finder: Finder, tick: Tick) -> Iterator[Look]:
    for index in numbers:
        yield index, finder.find(take.read(name, index))
        tick(1)


def _draft(manifest: Manifest, found: FacesFound) -> Manifest:
    told = _joined(blurred_of(manifest.extra), found).to_json()
    return dataclasses.replace(
        manifest,
        id=new_id(),
        layout={name: _layout(manifest.streams[name], layout) for name, layout in manifest.layout.items()},
        rows=0,
        duration_s=0.0,
        content_hash="",
        sealed=False,
        sums={},
        extra={**kept_remarks(manifest), marks.FACES: told},
    )


def _layout(spec: StreamSpec, layout: StreamLayout) -> StreamLayout:
    """The same, but for pieces of video."""
    if not isinstance(layout.codec, VideoCodec):
        return layout
    return StreamLayout(max(1, round(spec.rate_hz)), choose_codec(spec, "jpeg", _ARCHIVED_QUALITY))


def _joined(before: FacesFound | None, now: FacesFound) -> FacesFound:
    """Everything that is blurred in a take that was blurred before."""
    if before is None:
        return now
    names = dict.fromkeys((*before.streams, *now.streams))
    streams = {name: (*before.streams.get(name, ()), *now.streams.get(name, ())) for name in names}
    return dataclasses.replace(now, streams=streams)
