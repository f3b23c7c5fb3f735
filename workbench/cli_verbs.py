"""What a verb of the command line is, and arguments that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.cli_output import Output

Arguments = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace, Output], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Verb:
    """One word of the command line.

    Attributes:
        arguments: adds the verb's own arguments to its parser.
        run: does it and returns the JSON object; raises WorkbenchError with a sentence.
    """

    name: str
    help: str
    arguments: Arguments
    run: Run


def common_flags() -> argparse.ArgumentParser:
    """Flags of every verb and action; given on any level, the last one wins."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--home", type=Path, help="data folder (default: $WORKBENCH_HOME, else ~/clap-workbench)")
    common.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    common.add_argument("--debug", action="store_true", help="show tracebacks and log messages")
    common.add_argument("--threads", action="store_true", help="run every part in this process")
    return common


def add_actions(parser: argparse.ArgumentParser, **words: str) -> dict[str, argparse.ArgumentParser]:
    """Sub-verbs of a verb, chosen by ``options.action``; ``words`` is the help of each by name."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common = common_flags()
    return {
        name: actions.add_parser(name, help=text, description=text, parents=[common]) for name, text in words.items()
    }


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """For verbs that take only the common flags."""


def positive(text: str) -> int:
    """argparse type: an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def seconds(text: str) -> float:
    """argparse type: a positive, finite duration in seconds."""
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a duration in seconds")
    return value
