"""Trial series on the command line: ``rollout --models A B --blind``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from storage.layout import Home
from workbench.cli_output import Output
from workbench.cli_verbs import positive
from workbench.core.errors import WorkbenchError
from workbench.core.types import Outcome
from workbench.services.lockstep import LockstepSettings
from workbench.services.settings import Settings
from workbench.services.station import Station
from workbench.services.trial_runs import StationTrials, run_in_lockstep
from workbench.services.trials import Entrant, Rules, Series, Trial, run
from workbench.services.unattended import running_station


def add_trial_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything that makes a rollout a trial series."""
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="one model or two to compare, on the same scenes")
    parser.add_argument("--blind", action="store_true", help="call them policy 1 and policy 2 until the series is over")
    parser.add_argument(
        "--stop-failures", type=positive, default=None, metavar="K", help="stop after K failures in a row"
    )
    parser.add_argument("--stop-decided", action="store_true", help="stop as soon as one is better beyond doubt")
    parser.add_argument("--series", metavar="ID", help="go on with a series that was interrupted")


def wants_series(options: argparse.Namespace) -> bool:
    """True if the options ask for a series."""
    return bool(options.models or options.series)


def run_series(
    home: Home, settings: Settings, models: list[str], task: str, options: argparse.Namespace, output: Output
) -> Mapping[str, Any]:
    """Carry a series out to its end; the table and everything tried."""
    series = Series.open(home, options.series) if options.series else _plan(home, models, task, options)
    output.note(f"series {series.plan.id}")
    if options.live or not settings.simulated:
        with running_station(home.path, settings, threads=options.threads) as station:
            run_on_station(series, station, options.seconds)
    else:
        rates = LockstepSettings(policy=settings.policy)
        with output.progress("trials") as step:
            run_in_lockstep(home.path, series, settings=rates, progress=step)
    rows = [(line.label, line.task, line.rate, f"{line.seconds:.1f} s", line.model_id) for line in series.table()]
    output.table("", ("policy", "task", "success", "time", "model"), rows)
    found = series.comparison()
    output.say(f"{series.stopped_by()}; {found.verdict}" if found is not None else series.stopped_by())
    return series.to_json()


def run_on_station(series: Series, station: Station, most_s: float) -> None:
    """Carry a series out on a running station; where it is not simulated, a person lays the table and judges."""

    def ready(trial: Trial) -> bool:
        asked = series.laying(trial, station.settings.instruction(trial.task))
        word = _answer(f"Trial {trial.number + 1}, {trial.label}: {asked}. Enter begins, q ends the series ", "lay it")
        return word[:1] != "q"

    try:
        run(series, StationTrials(station, _ask, ready, most_s).attempt)
    except InterruptedError as error:
        raise WorkbenchError(
            f"the series was {error}", f"Go on with it: rollout --series {series.plan.id[:8]}"
        ) from None


def _plan(home: Home, models: list[str], task: str, options: argparse.Namespace) -> Series:
    entrants = [Entrant(model_id, options.head) for model_id in models]
    rules = Rules(options.stop_failures or 0, options.stop_decided)
    return Series.create(home, entrants, [task], options.trials, blind=options.blind, rules=rules)


def _ask(trial: Trial) -> Outcome | None:
    """A person's word on the attempt that has just run out of time."""
    word = _answer(f"Trial {trial.number + 1}, {trial.label}: did it succeed? [y/n, s skips] ", "judge it")
    return {"y": Outcome.SUCCESS, "n": Outcome.FAILURE}.get(word[:1])


def _answer(question: str, what_for: str) -> str:
    """A person's word, in small letters."""
    try:
        return input(question).strip().lower()
    except EOFError:
        raise WorkbenchError(f"nobody is there to {what_for}", "Run it in a terminal") from None
