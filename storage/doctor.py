"""Looks after what crashes leave behind: finishes takes whose journal vouches for them, sets the rest aside.

Nothing is ever repaired by guessing: what the last valid journal line promises is kept, what lies beyond is cut off,
and a take that cannot keep its promise goes to the quarantine with the reason beside it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from storage.archive_swap import settle_leftovers
from storage.checks import check_documents, mend_take
from storage.journal import claimed, is_being_written, read_journal
from storage.layout import BEGUN_SUFFIX, JOURNAL_NAME, PARTIAL_SUFFIX, REASON_NAME, SEALED_SUFFIX, Home
from storage.manifest import Manifest, NewerTakeError
from storage.promise import kept_words, promised
from storage.reader import Episode, read_manifest
from storage.sealing import seal_folder
from storage.trimming import find_surplus, trim
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.files import write_atomic

Progress = Callable[[int, int], None]


_BUSY = "is being recorded now"
_BEGUN_S = 60.0


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
    """What was found, and done if asked to: take ids by verdict, and one sentence per finding.

    ``mended``: sealed takes of which something could be written anew; ``damaged``: sealed takes of which something is
    lost. They stay where they are, and whatever is not damaged can be read. ``untreated``: the disk refused.
    """

    finished: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    untreated: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """True if there was nothing to do and nothing is damaged."""
        told = (self.finished, self.truncated, self.quarantined, self.mended, self.damaged, self.untreated)
        return not any(told)


def examine(home: Home, fix: bool = False, *, deep: bool = False, progress: Progress | None = None) -> Report:
    """Look at every leftover and every sealed take; with ``fix`` act on the verdicts.

    ``deep`` also reads every sealed take in full against its checksums (slow). A take being recorded right now is
    left alone. Never raises for a broken take; OSError-like trouble with one take becomes a message.
    """
    sealed = sorted(home.episodes.glob("*" + SEALED_SUFFIX))
    report = finish_leftovers(home, progress, fix=fix)
    for done, folder in enumerate(sealed):
        if progress is not None:
            progress(done, len(sealed))
        try:
            _check_sealed(home, folder, report, fix=fix, deep=deep)
        except (OSError, WorkbenchError) as error:
            report.untreated.append(folder.name.partition(".")[0])
            report.messages.append(f"{folder.name} could not be treated: {error}")
    return report


def finish_leftovers(home: Home, progress: Progress | None = None, *, fix: bool = True) -> Report:
    """What a start does by itself: seal or put aside the leftovers of a crash. Sealed takes are not looked at."""
    report = Report()
    if fix:
        _sweep_begun(home)
        try:
            report.messages += settle_leftovers(home)
        except (OSError, WorkbenchError) as error:
            report.messages.append(f"an interrupted archiving could not be treated: {error}")
    leftovers = sorted(home.episodes.glob("*" + PARTIAL_SUFFIX))
    for done, folder in enumerate(leftovers):
        if progress is not None:
            progress(done, len(leftovers))
        try:
            _treat(home, folder, report, fix=fix)
        except (OSError, WorkbenchError) as error:
            report.untreated.append(folder.name.partition(".")[0])
            report.messages.append(f"{folder.name} could not be treated: {error}")
    return report


def _sweep_begun(home: Home) -> None:
    """Remove takes that died before anything could be recorded. One that begins at this moment is left alone."""
    for folder in home.episodes.glob("*" + BEGUN_SUFFIX):
        with contextlib.suppress(OSError):  # it has just become a take, or another doctor was quicker
            if abs(time.time() - folder.stat().st_ctime) > _BEGUN_S:
                with claimed(folder / JOURNAL_NAME) as mine:
                    if mine:
                        shutil.rmtree(folder)


def diagnose(folder: Path) -> Diagnosis:
    """Decide about one ``.zarr.partial`` folder without changing it."""
    if is_being_written(folder / JOURNAL_NAME):
        return Diagnosis(folder, Verdict.LEAVE, _BUSY)
    return _diagnose(folder)


def _diagnose(folder: Path) -> Diagnosis:
    try:
        manifest = read_manifest(folder)
        if manifest.sealed:
            return _diagnose_sealed(folder, manifest)
        journal = read_journal(folder / JOURNAL_NAME)
        draft = promised(folder, manifest, journal)
        surplus = find_surplus(folder, draft, torn=journal.torn)
    except NewerTakeError as error:
        return Diagnosis(folder, Verdict.LEAVE, str(error))
    except CorruptTakeError as error:
        return Diagnosis(folder, Verdict.QUARANTINE, str(error))
    kept = kept_words(draft)
    if surplus:
        return Diagnosis(folder, Verdict.TRUNCATE, f"{kept}; cut {'; '.join(surplus)}", draft)
    return Diagnosis(folder, Verdict.FINISH, f"{kept}; everything on disk was journalled", draft)


def _diagnose_sealed(folder: Path, manifest: Manifest) -> Diagnosis:
    """The writer died between writing the final manifest and the rename."""
    with Episode(folder, manifest) as episode:
        problems = episode.verify()
    return Diagnosis(folder, Verdict.FINISH, "; ".join(["it only lacked its final name", *problems]), manifest)


def _treat(home: Home, folder: Path, report: Report, *, fix: bool) -> None:
    if not fix:
        _file(report, diagnose(folder), "")
        return
    with claimed(folder / JOURNAL_NAME) as mine:
        if not folder.is_dir():  # another doctor was quicker
            return
        diagnosis = _diagnose(folder) if mine else Diagnosis(folder, Verdict.LEAVE, _BUSY)
        _file(report, diagnosis, _act(home, diagnosis))


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
        mend_take(folder, draft)
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
    """Look after one sealed take: what follows from the rest is written anew, other damage is named and stays."""
    try:
        with Episode.at(folder) as episode:
            problems = episode.verify() if deep else check_documents(folder, episode.manifest)
            if problems and fix:
                report.mended += (mended := mend_take(folder, episode.manifest)) and [episode.manifest.id]
                report.messages += [f"{episode.manifest.id}: {text}" for text in mended]
                problems = episode.verify() if deep else check_documents(folder, episode.manifest)
            if problems:
                report.damaged.append(episode.manifest.id)
                report.messages += [f"{episode.manifest.id}: {text}" for text in problems]
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
    write_atomic(folder / REASON_NAME, (reason + "\n").encode())  # first: a crash must not part it from the take
    folder.rename(target)
