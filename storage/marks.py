"""Remarks on a take that its contents know nothing of: tags, trim marks, quality; all in the manifest's ``extra``.

``extra["tags"]`` is a sorted list of words; ``extra["trim"]`` is ``{"start_ns", "end_ns"}``, both ends included, in
the host time of the take's rows; ``extra["quality"]`` is ``{"version", "flags", "figures"}``. A take may come from
anywhere, so whatever does not fit is read as absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError

TAGS, TRIM, QUALITY, MODEL, TRIAL, SPLIT_OF = "tags", "trim", "quality", "model", "trial", "split_of"
ARCHIVE = "archive"
FACES = "faces"
LONGEST_TAG = 64
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Trim:
    """The part of a take that is to be used: host times in ns, both ends included."""

    start_ns: int
    end_ns: int

    def to_json(self) -> dict[str, int]:
        return {"start_ns": self.start_ns, "end_ns": self.end_ns}


def trim_of(extra: Mapping[str, Any]) -> Trim | None:
    """The take's trim marks, or None."""
    value = extra.get(TRIM)
    if not isinstance(value, Mapping):
        return None
    start, end = value.get("start_ns"), value.get("end_ns")
    whole = all(isinstance(at, int) and not isinstance(at, bool) and -_INT64 <= at < _INT64 for at in (start, end))
    return Trim(start, end) if whole and start <= end else None  # type: ignore[arg-type,operator]


def kept_rows(times_ns: NDArray[np.int64], extra: Mapping[str, Any]) -> slice:
    """Which rows of the regular grid (K,) are to be used: all, or those between the trim marks; may be empty."""
    trim = trim_of(extra)
    if trim is None:
        return slice(0, len(times_ns))
    first = int(np.searchsorted(times_ns, trim.start_ns, side="left"))
    return slice(first, max(first, int(np.searchsorted(times_ns, trim.end_ns, side="right"))))


def tags_of(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """The take's tags, sorted."""
    return _words(extra.get(TAGS))


def flags_of(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """What the quality check found wrong, sorted; () also when nothing was checked (see ``quality_version``)."""
    value = extra.get(QUALITY)
    return _words(value.get("flags")) if isinstance(value, Mapping) else ()


def quality_version(extra: Mapping[str, Any]) -> int | None:
    """Which version of the quality check looked at the take; None if none did."""
    value = extra.get(QUALITY)
    version = value.get("version") if isinstance(value, Mapping) else None
    return version if isinstance(version, int) and not isinstance(version, bool) and 0 <= version < 1 << 31 else None


def recorded_hash(extra: Mapping[str, Any], content_hash: str) -> str:
    """The content hash a take was recorded with: the archive's other form of it names the one before."""
    told = extra.get(ARCHIVE)
    found = told.get("original_hash") if isinstance(told, Mapping) else None
    return found if isinstance(found, str) and len(found) <= LONGEST_TAG else content_hash


def model_of(extra: Mapping[str, Any]) -> str:
    """The model that drove a rollout, or ""."""
    value = extra.get(MODEL)
    return value if isinstance(value, str) and len(value) <= LONGEST_TAG else ""


def check_tag(tag: str) -> str:
    """The tag without blanks around it; WorkbenchError if it is empty, very long or unprintable."""
    clean = tag.strip()
    if not clean or len(clean) > LONGEST_TAG or not clean.isprintable():
        raise WorkbenchError(f"{tag!r} cannot be a tag", f"Use 1 to {LONGEST_TAG} printable characters")
    return clean


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        return ()
    return tuple(sorted({word for word in value if isinstance(word, str) and 0 < len(word) <= LONGEST_TAG}))
