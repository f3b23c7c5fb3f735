"""The verb that measures this machine."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.cli_learning import find_model
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, add_actions, positive, seconds
from workbench.services import benches
from workbench.services.bench_codecs import bench_codecs
from workbench.services.bench_learn import bench_learn, learn_home
from workbench.services.bench_learn_plan import PLANS, SECTIONS, sections
from workbench.services.bench_preroll import bench_preroll
from workbench.services.bench_read import bench_read
from workbench.services.bench_record import bench_record
from workbench.services.bench_ui import bench_ui
from workbench.services.report_metrics import flatten


def _arguments(parser: argparse.ArgumentParser) -> None:
    which = add_actions(
        parser,
        record="cameras to disk",
        read="random windows for training, and playback",
        codecs="size, likeness and processor time of picture codecs",
        control="punctuality of the control tick",
        ui="what the window costs, and how long it ever stands still",
        train="rows per second with and without cached features",
        infer="latency and smoothness of a trained model",
        learn="what each part of the method is worth: the claims with their controls",
    )
    which["record"].add_argument("--cameras", type=positive, default=4)
    which["record"].add_argument("--preroll", action="store_true", help="what keeping the last seconds costs instead")
    which["codecs"].add_argument("--count", type=positive, default=36, help="pictures of each view")
    which["codecs"].add_argument("--cameras", type=positive, default=4, help="views, one video each")
    which["codecs"].add_argument("--quick", action="store_true", help="one view, 12 pictures")
    for name in ("record", "read", "codecs", "ui"):
        which[name].add_argument("--pictures", type=Path, help="folder with videos and depth frames to use")
    which["read"].add_argument("--takes", type=positive, default=12)
    which["read"].add_argument("--seconds", type=seconds, default=10.0, help="length of each take")
    which["read"].add_argument("--samples", type=positive, default=600)
    which["read"].add_argument("--catalogue", type=positive, default=100_000, help="takes in a synthetic catalogue")
    which["read"].add_argument("--quick", action="store_true", help="3 takes of 3 s, 60 samples, 2000 in the catalogue")
    for name in ("record", "control", "ui"):
        which[name].add_argument("--seconds", type=seconds, default=20.0)
        which[name].add_argument("--quick", action="store_const", dest="seconds", const=4.0, help="4 seconds")
    which["control"].add_argument("--model", help="policy that drives meanwhile (default: the newest rf model)")
    which["train"].add_argument("--takes", type=positive, default=12)
    which["train"].add_argument("--steps", type=positive, default=200)
    which["train"].add_argument("--quick", action="store_true", help="4 takes, 40 steps")
    which["infer"].add_argument("--model", help="default: the promoted or newest rf model")
    which["infer"].add_argument("--calls", type=positive, default=200, help="of each head, along a recorded take")
    which["infer"].add_argument("--seconds", type=seconds, default=30.0, help="how long the running station drives")
    which["infer"].add_argument("--trials", type=positive, default=6, help="per way to join chunks and latency")
    which["infer"].add_argument("--quick", action="store_true", help="30 calls, 6 s, 1 trial at the longest latency")
    _learn_arguments(which["learn"])
    for action in which.values():
        action.add_argument("--seed", type=int, default=0)


def _learn_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--arms", default="", help="some arms of those sections, with commas between (default: all)")
    parser.add_argument("--seeds", type=positive, help="trainings per arm (default: by size)")
    parser.add_argument("--base", help="corrections, latency: take this rf model instead of training one")
    parser.add_argument("--size", default="full", choices=list(PLANS), help="tiny: minutes; full: many hours")
    parser.add_argument("--recorded", action="store_true", help="learn from the takes the data folder has")


def _bench(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    output.note(f"measuring {options.action}")
    measured = _learn(options, output) if options.action == "learn" else _measure(options)
    result = {**measured, **benches.about(options.seed)}
    output.table("", ("", ""), list(flatten(result).items()))
    return result


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    if options.action == "record" and options.preroll:
        return bench_preroll(options.seconds, options.cameras, options.pictures, options.home, options.seed)
    if options.action == "record":
        return bench_record(options.seconds, options.cameras, options.pictures, options.home, options.seed)
    if options.action == "codecs":
        count, views = (12, 1) if options.quick else (options.count, options.cameras)
        return bench_codecs(count, views, options.pictures, options.seed)
    if options.action == "read":
        takes, length, samples = (3, 3.0, 60) if options.quick else (options.takes, options.seconds, options.samples)
        catalogue = 2000 if options.quick else options.catalogue
        return bench_read(takes, length, samples, options.pictures, options.home, catalogue, options.seed)
    if options.action == "ui":
        return bench_ui(options.seconds, options.pictures, options.seed)
    if options.action == "control":
        return benches.bench_control(options.seconds, options.home, options.model)
    if options.action == "train":
        takes, steps = (4, 40) if options.quick else (options.takes, options.steps)
        return benches.bench_train(takes, steps, options.seed)
    home = Home.open(options.home)
    model = find_model(home, options.model, "rf").id if options.model else None
    if options.quick:
        return benches.bench_infer(home.path, model, 30, seconds=6.0, trials=1, shares=(0.6,), seed=options.seed)
    return benches.bench_infer(
        home.path, model, options.calls, seconds=options.seconds, trials=options.trials, seed=options.seed
    )


def _learn(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    """Goes on where an earlier call with the same home, size and seed was interrupted."""
    arms = tuple(name for name in options.arms.split(",") if name)
    home = learn_home(options.home, recorded=options.recorded)
    return bench_learn(
        home,
        output,
        only=sections(options.only),
        size=options.size,
        seeds=options.seeds,
        seed=options.seed,
        recorded=options.recorded,
        arms=arms,
        base=find_model(Home.open(home), options.base, "rf").id if options.base else "",
    )


BENCH = Verb(_arguments, _bench)
