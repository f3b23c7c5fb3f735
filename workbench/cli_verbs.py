"""What a verb of the command line is, and arguments that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
