"""The verb that measures this machine."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from storage.layout import Home
from workbench.cli_learning import find_model
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, positive, seconds
from workbench.services import benches
from workbench.services.report import flatten


def _arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, words in (("record", "cameras to disk"), ("control", "punctuality of the control tick")):
        timed = which.add_parser(name, help=words)
        timed.add_argument("--seconds", type=seconds, default=20.0)
        timed.add_argument("--quick", action="store_const", dest="seconds", const=4.0, help="4 seconds")
    train = which.add_parser("train", help="rows per second with and without cached features")
    train.add_argument("--takes", type=positive, default=12)
    train.add_argument("--steps", type=positive, default=200)
    train.add_argument("--quick", action="store_true", help="4 takes, 40 steps")
    infer = which.add_parser("infer", help="latency and smoothness of a trained model")
    infer.add_argument("--model", help="default: the promoted or newest rf model")
    infer.add_argument("--calls", type=positive, default=200)
    infer.add_argument("--quick", action="store_const", dest="calls", const=30, help="30 calls")
    for parser_of in which.choices.values():
        parser_of.add_argument("--seed", type=int, default=0)


def _bench(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    output.note(f"measuring {options.what}")
    result = {**_measure(options), **benches.about(options.seed)}
    output.table("", ("", ""), list(flatten(result).items()))
    return result


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    if options.what == "record":
        return benches.bench_record(options.seconds)
    if options.what == "control":
        return benches.bench_control(options.seconds)
    if options.what == "train":
        takes, steps = (4, 40) if options.quick else (options.takes, options.steps)
        return benches.bench_train(takes, steps, options.seed)
    home = Home.open(options.home)
    model = find_model(home, options.model, "rf").id if options.model else None
    return benches.bench_infer(home.path, model, options.calls)


VERBS = (Verb("bench", "measure recording, control, training or inference on this machine", _arguments, _bench),)
