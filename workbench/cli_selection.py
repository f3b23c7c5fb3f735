"""Which takes a verb means: by id or the beginning of one, or by what they are."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli_verbs import seconds
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library, TakeFilter

KINDS, OUTCOMES = [str(kind) for kind in EpisodeKind], [str(outcome) for outcome in Outcome]
_MANY = ("tag", "without_tag", "flag", "without_flag")


def add_filters(parser: argparse.ArgumentParser, *, trash: bool = True) -> None:
    """Flags for the conditions of ``TakeFilter``; all given ones must hold."""
    group = parser.add_argument_group("which takes")
    add = group.add_argument
    add("--kind", choices=KINDS)
    add("--task")
    add("--outcome", choices=OUTCOMES)
    add("--text", default="", help="words of an instruction, a note, a name or an id")
    add("--tag", action="append", default=[], metavar="TAG", help="with this tag; may be given several times")
    add("--without-tag", action="append", default=[], metavar="TAG")
    add("--collection", metavar="NAME", help="in this collection or snapshot")
    add("--operator")
    add("--scene")
    add("--station")
    add("--flag", action="append", default=[], metavar="FLAG", help="with any of these quality flags")
    add("--without-flag", action="append", default=[], metavar="FLAG")
    add("--checked", action=argparse.BooleanOptionalAction, help="whether its quality was assessed")
    add("--rate-ok", action=argparse.BooleanOptionalAction, help="whether every stream kept 95 %% of its rate")
    add("--model", metavar="ID", help="driven by this model")
    add("--serial", help="recorded with the device of this serial number")
    add("--since", metavar="TIME", help="begun at this time or later, like 2026-05-31 or 2026-05-31T14:30+02:00")
    add("--until", metavar="TIME", help="begun before this time")
    add("--min-s", type=seconds, metavar="S", help="at least this long")
    add("--max-s", type=seconds, metavar="S", help="at most this long")
    if trash:
        add("--trashed", action="store_true", help="what lies in the trash")


def filter_of(options: argparse.Namespace) -> TakeFilter:
    """The conditions that were given."""
    same = ("kind", "task", "outcome", "text", "collection", "operator", "scene", "station", "checked", "rate_ok")
    values: dict[str, Any] = {name: getattr(options, name) for name in (*same, "model", "serial")}
    values |= {name: getattr(options, name) for name in ("since", "until", "min_s", "max_s")}
    values |= {f"{name}s": tuple(getattr(options, name)) for name in _MANY}
    return TakeFilter(trashed=getattr(options, "trashed", False), **values)


def add_takes(parser: argparse.ArgumentParser) -> None:
    """Ids, or conditions in their place."""
    parser.add_argument("ids", nargs="*", metavar="id", help="takes; without any, those that the conditions fit")
    add_filters(parser, trash=False)


def chosen(library: Library, options: argparse.Namespace) -> list[str]:
    """The takes that were named, or those that fit. WorkbenchError if neither is given, or nothing fits."""
    if options.ids:
        return found(library, options.ids)
    wanted = filter_of(options)
    if wanted == TakeFilter():
        raise WorkbenchError("no take is named", "Give ids, or conditions such as --task or --tag")
    ids = list(library.ids(wanted))
    if not ids:
        raise WorkbenchError("no take fits these conditions", "Look with `python main.py episodes list`")
    return ids


def found(library: Library, ids: list[str]) -> list[str]:
    """Whole ids for abbreviated ones, each once."""
    return list(dict.fromkeys(library.find(text).id for text in ids))
