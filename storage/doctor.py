"""Looks after what crashes leave behind: finishes takes whose journal vouches for them, sets the rest aside.

Nothing is ever repaired by guessing: what the last valid journal line promises is kept, what lies beyond is cut off,
and a take that cannot keep its promise goes to the quarantine with the reason beside it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from storage.journal import JournalState, is_being_written, read_journal
from storage.layout import JOURNAL_NAME, PARTIAL_SUFFIX, REASON_NAME, SEALED_SUFFIX, Home
from storage.manifest import Manifest, NewerTakeError
from storage.reader import Episode, read_manifest
from storage.sealing import seal_folder
from storage.trimming import find_surplus, trim
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.files import write_atomic
from workbench.core.types import EpisodeKind


class Verdict(StrEnum):
    """What is to be done with a leftover."""

    FINISH = "finish"
    TRUNCATE = "truncate"
    QUARANTINE = "quarantine"
    LEAVE = "leave alone"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One leftover: the verdict, why, and the manifest to seal it with (None in quarantine)."""

    folder: Path
    verdict: Verdict
    reason: str
    draft: Manifest | None = None


@dataclass(slots=True)
class Report:
    """What was found, and done if asked to: take ids by verdict, and one sentence per finding."""

    finished: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """True if there was nothing to do."""
        return not (self.finished or self.truncated or self.quarantined)


def examine(home: Home, fix: bool = False, *, deep: bool = False) -> Report:
    """Look at every leftover and every sealed take; with ``fix`` act on the verdicts.

    ``deep`` also reads every sealed take in full against its content hash (slow). A take being recorded right now is
    left alone. Never raises for a broken take; OSError-like trouble with one take becomes a message.
    """
    report = Report()
    for folder in sorted(home.episodes.glob("*" + PARTIAL_SUFFIX)):
        diagnosis = diagnose(folder)
        try:
            _file(report, diagnosis, _act(home, diagnosis) if fix else "")
        except (OSError, WorkbenchError) as error:
            report.messages.append(f"{folder.name} could not be treated: {error}")
    for folder in sorted(home.episodes.glob("*" + SEALED_SUFFIX)):
        _check_sealed(home, folder, report, fix=fix, deep=deep)
    return report


def diagnose(folder: Path) -> Diagnosis:
    """Decide about one ``.zarr.partial`` folder without changing it."""
    if is_being_written(folder / JOURNAL_NAME):
        return Diagnosis(folder, Verdict.LEAVE, "is being recorded now")
    try:
        manifest = read_manifest(folder)
        if manifest.sealed:
            return _diagnose_sealed(folder, manifest)
        journal = read_journal(folder / JOURNAL_NAME)
        draft = promised(manifest, journal)
        surplus = find_surplus(folder, draft, torn=journal.torn)
    except NewerTakeError as error:
        return Diagnosis(folder, Verdict.LEAVE, str(error))
    except CorruptTakeError as error:
        return Diagnosis(folder, Verdict.QUARANTINE, str(error))
    if surplus:
        return Diagnosis(folder, Verdict.TRUNCATE, "cut back to the last durable block: " + "; ".join(surplus), draft)
    return Diagnosis(folder, Verdict.FINISH, "everything on disk was journalled", draft)


def promised(manifest: Manifest, journal: JournalState) -> Manifest:
    """The manifest with what the journal vouches for. CorruptTakeError if that is nothing or fits no stream."""
    if manifest.kind is EpisodeKind.IMPORTED:
        raise CorruptTakeError("its import was interrupted", "Import it again")
    if set(journal.counts) != set(manifest.streams):
        raise CorruptTakeError("the journal and the manifest name different streams")
    if not any(journal.counts.values()):
        raise CorruptTakeError("nothing was recorded before the end")
    gaps = {name: tuple(journal.gaps.get(name, ())) for name in manifest.streams}
    draft = dataclasses.replace(
        manifest,
        counts=journal.counts,
        gap_positions=gaps,
        gaps={name: sum(missing for _, missing in items) for name, items in gaps.items()},
        extra={**manifest.extra, "recovered": True},
    )
    return Manifest.from_json(draft.to_json())


def _diagnose_sealed(folder: Path, manifest: Manifest) -> Diagnosis:
    """The writer died between writing the final manifest and the rename."""
    with Episode(folder, manifest) as episode:
        problems = episode.verify()
    if problems:
        return Diagnosis(folder, Verdict.QUARANTINE, "; ".join(problems))
    return Diagnosis(folder, Verdict.FINISH, "it only lacked its final name", manifest)


def _act(home: Home, diagnosis: Diagnosis) -> str:
    """Carry out the verdict; returns a reason if sealing failed and the take was quarantined instead."""
    folder, draft = diagnosis.folder, diagnosis.draft
    if diagnosis.verdict is Verdict.LEAVE:
        return ""
    if draft is None:
        _quarantine(home, folder, diagnosis.reason)
        return ""
    target = home.sealed(draft.id)
    if draft.sealed:
        folder.rename(target)
        return ""
    try:
        trim(folder, draft)
        seal_folder(folder, target, draft, digests=None, sync=True)
    except CorruptTakeError as error:
        _quarantine(home, folder, str(error))
        return str(error)
    return ""


def _file(report: Report, diagnosis: Diagnosis, failed: str) -> None:
    name = diagnosis.folder.name.partition(".")[0]
    verdict, reason = diagnosis.verdict, diagnosis.reason
    if failed:
        verdict, reason = Verdict.QUARANTINE, failed
    places = {
        Verdict.FINISH: report.finished,
        Verdict.TRUNCATE: report.truncated,
        Verdict.QUARANTINE: report.quarantined,
        Verdict.LEAVE: report.left_alone,
    }
    places[verdict].append(name)
    report.messages.append(f"{name}: {verdict}: {reason}")


def _check_sealed(home: Home, folder: Path, report: Report, *, fix: bool, deep: bool) -> None:
    try:
        with Episode.at(folder) as episode:
            report.messages += [f"{episode.manifest.id}: {text}" for text in (episode.verify() if deep else ())]
    except NewerTakeError as error:
        report.messages.append(f"{folder.name}: left alone: {error}")
    except CorruptTakeError as error:
        if fix:
            _quarantine(home, folder, str(error))
        _file(report, Diagnosis(folder, Verdict.QUARANTINE, str(error)), "")


def _quarantine(home: Home, folder: Path, reason: str) -> None:
    home.quarantine.mkdir(exist_ok=True)
    target = home.quarantine / folder.name
    number = 1
    while target.exists():
        number += 1
        target = home.quarantine / f"{folder.name}.{number}"
    folder.rename(target)
    write_atomic(target / REASON_NAME, (reason + "\n").encode())
