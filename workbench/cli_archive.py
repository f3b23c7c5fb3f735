"""`episodes archive`: takes in a form of about video size, and back."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

from storage.layout import Home
from storage.marks import ARCHIVE
from workbench.cli_output import Output
from workbench.core.errors import WorkbenchError
from workbench.services.archiving import (
    ArchiveRound,
    archive_many,
    archive_settings,
    due_for_archive,
    unarchive_many,
)
from workbench.services.library import Library
from workbench.services.settings import load_settings

HELP = "store takes anew in about a tenth of the space; the originals wait in the trash"


def add_archive_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `episodes archive`."""
    parser.add_argument("ids", nargs="*", metavar="id")
    parser.add_argument("--older-than", type=float, metavar="DAYS", help="all takes that began so long ago")
    parser.add_argument("--undo", action="store_true", help="bring originals back, while they are in the trash")
    parser.add_argument("--dry-run", action="store_true", help="only say which takes it would be")


def archive(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    """Archive takes, or bring their originals back. Interrupted, it keeps what is done and leaves the rest."""
    home = Home.open(options.home)
    ids = _chosen(library, options)
    if options.dry_run:
        return _tell(home, ids, output)
    verb = "bringing back" if options.undo else "archiving"
    with output.progress(f"{verb} {len(ids)} takes" + ("" if options.undo else ", percent")) as step:
        if options.undo:
            found = unarchive_many(home, ids, library.refresh, step)
        else:
            settings = archive_settings(load_settings(home.path))
            found = archive_many(home, ids, settings, library.refresh, step)
    for episode_id, reason in found.failed.items():
        output.say(f"{episode_id}: {reason}")
    if found.failed and not (found.done or found.unchanged):
        raise WorkbenchError("no take could be stored anew: " + next(iter(found.failed.values())))
    return _restored(found, output) if options.undo else _archived(found, output)


def _chosen(library: Library, options: argparse.Namespace) -> list[str]:
    if bool(options.ids) == (options.older_than is not None):
        raise WorkbenchError("it is not clear which takes are meant", "Name takes, or give --older-than DAYS")
    if options.ids:
        return list(dict.fromkeys(library.find(text).id for text in options.ids))
    records = library.episodes()
    if options.undo:
        return [record.id for record in records if ARCHIVE in record.extra]
    return due_for_archive(records, options.older_than)


def _tell(home: Home, ids: list[str], output: Output) -> Mapping[str, Any]:
    sizes = {i: sum(path.lstat().st_size for path in home.sealed(i).rglob("*") if path.is_file()) for i in ids}
    output.table("", ("id", "MB"), [(episode_id, f"{size / 1e6:.1f}") for episode_id, size in sizes.items()])
    output.say(f"{len(ids)} takes, {sum(sizes.values()) / 1e6:.1f} MB now")
    return {"would": ids, "bytes_now": sizes}


def _archived(found: ArchiveRound, output: Output) -> Mapping[str, Any]:
    rows = [
        (r.episode_id, f"{r.bytes_before / 1e6:.2f}", f"{r.bytes_after / 1e6:.2f}", r.psnr_db, r.ssim)
        for r in found.done
    ]
    output.table("", ("id", "MB before", "MB after", "worst PSNR dB", "worst SSIM"), rows)
    before, after = sum(r.bytes_before for r in found.done), sum(r.bytes_after for r in found.done)
    output.say(f"{len(found.done)} takes archived: {before / 1e6:.1f} MB became {after / 1e6:.1f} MB")
    if found.unchanged:
        output.say(f"{len(found.unchanged)} would not have become smaller and stay as they are")
    if found.done:
        output.say("The originals are in the trash; `episodes archive --undo` brings them back until it is purged")
    return {
        "archived": [dataclasses.asdict(report) for report in found.done],
        "unchanged": found.unchanged,
        "failed": found.failed,
        "bytes_before": before,
        "bytes_after": after,
    }


def _restored(found: ArchiveRound, output: Output) -> Mapping[str, Any]:
    output.say(f"{len(found.unchanged)} takes are as they were recorded")
    return {"restored": found.unchanged, "failed": found.failed}
