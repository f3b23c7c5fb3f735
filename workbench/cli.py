"""The command line: every verb is a thin call of a service.

Exit codes: 0 done, 1 failed with one sentence on standard error, 2 wrong usage. ``--json`` prints one JSON object as
the last line of standard output. There is no traceback unless ``--debug``. A verb's module is imported only when that
verb is used, so that the window opens without waiting for what it does not need.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from storage.layout import Home
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, add_common_flags
from workbench.core.errors import WorkbenchError

OpenWindow = Callable[[Path, bool], int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table of verbs; ``module`` has the ``Verb`` under its name in capitals."""

    name: str
    help: str
    module: str

    def load(self) -> Verb:
        """Import what the verb needs."""
        verb = getattr(importlib.import_module(self.module), self.name.upper())
        if not isinstance(verb, Verb):
            raise TypeError(f"{self.module}.{self.name.upper()} is no verb")
        return verb


VERBS = (
    Entry("demo", "the whole story on the simulated station, unattended", "workbench.cli_station"),
    Entry("record", "record takes with this station", "workbench.cli_station"),
    Entry("teleoperate", "drive the arm with the keys of this terminal", "workbench.cli_station"),
    Entry("replay", "repeat a recorded take on the arm; take the arm home", "workbench.cli_replay"),
    Entry("calibrate", "find out where a camera is, or whether it has moved", "workbench.cli_calibrate"),
    Entry("episodes", "find, label, throw away and bring back takes", "workbench.cli_episodes"),
    Entry("import", "bring in recordings of other systems", "workbench.cli_exchange"),
    Entry("export", "write takes for other programs or another station", "workbench.cli_exchange"),
    Entry("devices", "what is attached, what could be, what is missing and why", "workbench.cli_library"),
    Entry("doctor", "examine machine and disk; finish interrupted takes", "workbench.cli_library"),
    Entry("align", "train the action codebook and the alignment of both kinds of video", "workbench.cli_learning"),
    Entry("train", "train one stage", "workbench.cli_learning"),
    Entry("finetune", "learn from new takes without losing the old tasks", "workbench.cli_learning"),
    Entry("models", "list, compare, promote, export and throw away models", "workbench.cli_models"),
    Entry("rollout", "let a model drive: many trials in simulation, or this station live", "workbench.cli_learning"),
    Entry("serve", "let robots on other computers ask a model over the network", "workbench.cli_serve"),
    Entry("bench", "measure recording, control, training or inference on this machine", "workbench.cli_bench"),
)


class _Parser(argparse.ArgumentParser):
    """Answers a wrong word with the nearest right one."""

    def error(self, message: str) -> NoReturn:
        word = next((part for part in message.split("'")[1:2] if "invalid choice" in message), "")
        near = difflib.get_close_matches(word, [entry.name for entry in VERBS], n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        self.exit(2, f"{self.prog}: {message}{hint}\n")


class _VerbParser(_Parser):
    """A verb's parser, which learns its arguments when it is first used."""

    entry: Entry | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.entry is not None:
            entry, self.entry = self.entry, None
            verb = entry.load()
            verb.arguments(self)
            self.set_defaults(run=verb.run)
        return super().parse_known_args(args, namespace)


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar. Common flags may stand before or after the verb."""
    parser = _Parser(prog="main.py", description="Record, align, fine-tune and drive robot policies.")
    add_common_flags(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_VerbParser)
    for entry in VERBS:
        child = verbs.add_parser(entry.name, help=entry.help, description=entry.help)
        add_common_flags(child)
        child.entry = entry
    return parser


def main(arguments: Sequence[str], open_window: OpenWindow) -> int:
    """Run one command line. Returns the exit code.

    Args:
        arguments: without the program's name.
        open_window: called with (home, threads) when there is no verb; given by the program's entry file, so that
            the command line knows no window.
    """
    output, debug = Output(as_json="--json" in arguments), "--debug" in arguments
    logging.basicConfig(level=logging.INFO if debug else logging.ERROR, format="%(name)s: %(message)s")
    try:
        options = build_parser().parse_args(arguments)
        options.home, options.threads = getattr(options, "home", None), getattr(options, "threads", False)
        if options.verb is None:
            return open_window(Home.open(options.home).path, options.threads)
        output.finish(options.run(options, output))
        return 0
    except SystemExit as stop:  # argparse has said what is wrong
        return stop.code if isinstance(stop.code, int) else 2
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
