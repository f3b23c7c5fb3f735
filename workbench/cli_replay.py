"""The verb `replay`: a recorded take repeated on the arm, and the way home."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import queue
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from storage.layout import Home
from workbench.cli_output import Output, Step
from workbench.cli_verbs import Verb, seconds
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.events import Failed, Replayed, ReplayProgressed
from workbench.services.replay import COMPLETE, ReplayPlan, ReplayRequest, plan_replay
from workbench.services.replay_plan import STREAMS
from workbench.services.settings import load_settings
from workbench.services.station import Station
from workbench.services.unattended import running_station

_SEAL_S = 60.0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("episode", nargs="?", metavar="EPISODE", help="the take, or how its id begins")
    parser.add_argument("--speed", type=float, default=1.0, help="0.25 to 1 times the take's pace")
    parser.add_argument("--from", dest="from_s", type=_moment, default=0.0, metavar="S", help="begin after S seconds")
    parser.add_argument("--to", dest="to_s", type=seconds, metavar="S", help="end S seconds after the take's beginning")
    parser.add_argument("--stream", choices=STREAMS, default=STREAMS[0], help="repeat what was sent, or where it was")
    parser.add_argument("--reset-task", action="store_true", help="simulated station: lay the table as it was first")
    parser.add_argument("--park", action="store_true", help="then go home slowly; without a take, only that")


def _moment(text: str) -> float:
    """argparse type: seconds, 0 or more."""
    return 0.0 if text.strip() in ("0", "0.0") else seconds(text)


def _replay(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    if not options.episode and not options.park:
        raise WorkbenchError("no take was given", "List them with `python main.py episodes list`")
    home = Home.open(options.home)
    settings = load_settings(home.path)
    plan = None
    if options.episode:
        asked = (options.speed, options.from_s, options.to_s, options.stream)
        plan = plan_replay(home, settings, ReplayRequest(_take(home, options.episode), *asked))
    result: dict[str, Any] = {}
    with running_station(home.path, settings, threads=options.threads) as station:
        if plan is not None:
            result = _repeat(station, plan, options, output)
        if options.park:
            result["park"] = station.park_and_wait()
            output.say(f"home after {result['park']['seconds']:.1f} s")
    return result


def _take(home: Home, text: str) -> str:
    """The id that is, or alone begins with, ``text``."""
    known = [path.name.partition(".")[0] for path in home.episodes.glob("*.zarr")]
    found = [name for name in known if name.startswith(text)]
    if len(found) != 1:
        raise NotFoundError.of("take", text, known)
    return found[0]


def _repeat(station: Station, plan: ReplayPlan, options: argparse.Namespace, output: Output) -> dict[str, Any]:
    if options.reset_task:
        station.reset_scene(plan.task, seed=plan.seed)
    ended: queue.SimpleQueue[Replayed | Failed] = queue.SimpleQueue()
    with (
        output.progress(f"replaying {plan.request.episode_id}") as step,
        station.bus.subscribe(Replayed, ended.put),
        station.bus.subscribe(Failed, lambda event: ended.put(event) if event.where == "station-replay" else None),
        station.bus.subscribe(ReplayProgressed, lambda event: _show(event, step)),
        _any_key() as pressed,
    ):
        station.replay(plan, judge=options.reset_task)
        output.note("Ctrl-C or any key: hold")
        event = _until_over(station, ended, pressed)
    if isinstance(event, Failed):
        raise WorkbenchError(f"the replay failed: {event.message}")
    return _told(event, output)


def _show(event: ReplayProgressed, step: Step) -> None:
    if event.phase == "play":
        step(round(event.done_s), max(1, round(event.total_s)))


def _until_over(
    station: Station, ended: queue.SimpleQueue[Replayed | Failed], pressed: Callable[[], bool]
) -> Replayed | Failed:
    """Wait; a key or Ctrl-C holds the arm, and the take is sealed all the same."""
    try:
        while True:
            with contextlib.suppress(queue.Empty):
                return ended.get(timeout=0.1)
            if pressed():
                break
    except KeyboardInterrupt:  # asks for the same as a key: hold, below
        pass
    station.hold()
    try:
        return ended.get(timeout=_SEAL_S)
    except queue.Empty:
        raise WorkbenchError("the replay was held, but its take was not sealed", "Run `main.py doctor --fix`") from None


@contextlib.contextmanager
def _any_key() -> Iterator[Callable[[], bool]]:
    """Whether a key was pressed in this terminal; without a terminal none ever is."""
    if not sys.stdin.isatty():
        yield lambda: False
        return
    with importlib.import_module("workbench.cli_keys").presses() as pressed:
        yield pressed


def _told(event: Replayed, output: Output) -> dict[str, Any]:
    found = event.report
    output.say(f"take {event.episode_id}: {event.ended_by} ({found['seconds']:.1f} of {found['of_seconds']:.1f} s)")
    tracking = found["tracking"]
    if tracking:
        output.say(
            f"against the recorded states: {tracking['rmse_rad']:.4f} rad rms, {tracking['max_rad']:.4f} rad at most, "
            f"{tracking['lag_ms']:.0f} ms late"
        )
    for reason, ticks in found["guard"].items():
        output.say(f"guard: {reason} in {ticks} of {found['ticks']} ticks")
    ended = {"ended_by": event.ended_by, "complete": event.ended_by == COMPLETE}
    return {"episode": event.episode_id, "replay_of": event.replay_of, **ended, **found}


REPLAY = Verb(_arguments, _replay)
