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
from typing import NoReturn

from workbench import cli_bench, cli_learning, cli_library, cli_station
from workbench.cli_output import Output
from workbench.cli_verbs import Verb
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
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--home", type=Path, help="data folder (default: $WORKBENCH_HOME, else ~/clap-workbench)")
    common.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    common.add_argument("--debug", action="store_true", help="show tracebacks and log messages")
    common.add_argument("--threads", action="store_true", help="run every part in this process")
    parser = _Parser(prog="main.py", description="Record, align, fine-tune and drive robot policies.", parents=[common])
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
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
    except KeyboardInterrupt:
        output.failed("interrupted; what was sealed or checkpointed so far is kept")
    except WorkbenchError as error:
        output.failed(_sentence(str(error)))
    except OSError as error:
        output.failed(
            f"{error.strerror or error}: {error.filename or 'the data folder'}; check the disk and its rights"
        )
    except Exception as error:
        output.failed(f"unexpected {type(error).__name__}: {error}; run again with --debug and report what it shows")
    if debug:
        traceback.print_exc()
    return 1


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _require_display() -> None:
    """Raise a sentence instead of letting the window toolkit abort the process."""
    if sys.platform != "linux" or os.environ.get("QT_QPA_PLATFORM"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise WorkbenchError(
            "there is no display for the window",
            "Start it on a desktop, or use a verb: `python main.py demo --quick` needs no display",
        )
