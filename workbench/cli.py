"""The command line: every verb is a thin call of a service.

Exit codes: 0 done, 1 failed with one sentence on standard error, 2 wrong usage. ``--json`` prints one JSON object as
the last line of standard output. There is no traceback unless ``--debug``.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from workbench import cli_bench, cli_learning, cli_library, cli_station
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, common_flags
from workbench.core.errors import WorkbenchError

VERBS: tuple[Verb, ...] = (*cli_station.VERBS, *cli_library.VERBS, *cli_learning.VERBS, *cli_bench.VERBS)
OpenWindow = Callable[[Path | None, bool], int]


class _Parser(argparse.ArgumentParser):
    """Answers a wrong verb with the nearest right one."""

    def error(self, message: str) -> NoReturn:
        word = next((part for part in message.split("'")[1:2] if "invalid choice" in message), "")
        near = difflib.get_close_matches(word, [verb.name for verb in VERBS], n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        self.exit(2, f"{self.prog}: {message}{hint}\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar. Common flags may stand before or after the verb."""
    common = common_flags()
    parser = _Parser(prog="main.py", description="Record, align, fine-tune and drive robot policies.", parents=[common])
    verbs: Any = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    for verb in VERBS:
        child = verbs.add_parser(verb.name, help=verb.help, description=verb.help, parents=[common])
        verb.arguments(child)
        child.set_defaults(run=verb.run)
    return parser


def main(arguments: Sequence[str], open_window: OpenWindow) -> int:
    """Run one command line. Returns the exit code.

    Args:
        arguments: without the program's name.
        open_window: called with (home, threads) when there is no verb; given by the program's entry file, so that
            the command line knows no window.
    """
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0) if not isinstance(stop.code, str) else 2
    options.home = getattr(options, "home", None)
    debug, threads = getattr(options, "debug", False), getattr(options, "threads", False)
    options.threads = threads
    logging.basicConfig(level=logging.INFO if debug else logging.ERROR, format="%(name)s: %(message)s")
    output = Output(as_json=getattr(options, "json", False))
    try:
        if options.verb is None:
            _require_display()
            return open_window(options.home, threads)
        output.finish(options.run(options, output))
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error)
        output.failed(_sentence(error))
        return 1


def _sentence(error: BaseException) -> str:
    """What happened and what to do, for any failure."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted; what was sealed or checkpointed so far is kept."
    if isinstance(error, WorkbenchError):
        return str(error)[:1].upper() + str(error)[1:]
    if isinstance(error, OSError):
        where = error.filename or "the data folder"
        return f"{error.strerror or error}: {where}. Check the disk and its rights."
    return f"Unexpected {type(error).__name__}: {error}. Run again with --debug and report what it shows."


def _require_display() -> None:
    """Raise a sentence instead of letting the window toolkit abort the process."""
    if sys.platform != "linux" or os.environ.get("QT_QPA_PLATFORM"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise WorkbenchError(
            "there is no display for the window",
            "Start it on a desktop, or use a verb: `python main.py demo --quick` needs no display",
        )
