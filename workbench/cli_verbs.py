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
    """What one word of the command line takes and does.

    Attributes:
        arguments: adds the verb's own arguments to its parser.
        run: does it and returns the JSON object; raises WorkbenchError with a sentence.
    """

    arguments: Arguments
    run: Run


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of every verb and action; they may stand on any level, and are absent from the result when not given."""
    absent = argparse.SUPPRESS
    parser.add_argument(
        "--home", type=Path, default=absent, help="data folder (default: $WORKBENCH_HOME, else ~/clap-workbench)"
    )
    for name, words in (
        ("--json", "print one JSON object as the last line"),
        ("--debug", "show tracebacks and log messages"),
        ("--threads", "run every part in this process"),
    ):
        parser.add_argument(name, action="store_true", default=absent, help=words)


def add_actions(parser: argparse.ArgumentParser, **words: str) -> dict[str, argparse.ArgumentParser]:
    """Sub-verbs of a verb, chosen by ``options.action``; ``words`` is the help of each by name."""
    choices = parser.add_subparsers(
        dest="action", metavar="ACTION", required=True, parser_class=argparse.ArgumentParser
    )
    actions = {name: choices.add_parser(name, help=text, description=text) for name, text in words.items()}
    for action in actions.values():
        add_common_flags(action)
    return actions


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
