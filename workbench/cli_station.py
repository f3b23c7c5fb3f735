"""Verbs that run the station: demo, record, teleoperate."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import queue
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardware.headset.qr import qr_text
from storage.doctor import finish_leftovers
from storage.layout import PARTIAL_SUFFIX, Home
from workbench import cli_upkeep
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, positive, seconds
from workbench.core.errors import WorkbenchError
from workbench.core.events import TakeSealed
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.demo import Demo
from workbench.services.demo_plan import PLANS, demo_plan
from workbench.services.demo_report import write_story
from workbench.services.settings import Settings, load_settings
from workbench.services.station import Station
from workbench.services.story import Story, summary
from workbench.services.unattended import play_take, record_take, running_station


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="plan", const="quick", default="full", help="a few minutes")
    size.add_argument("--plan", choices=sorted(PLANS), default="full", help="size of the story (default: full)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", metavar="RUN", help="go on with a demonstration that was interrupted")
    parser.add_argument("--import", dest="data", type=Path, metavar="PATH", help="real recordings to import")


def _demo(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    if options.data is not None and not options.data.exists():
        raise WorkbenchError(f"{options.data} does not exist", "Give the folder or file of the recordings")
    home = Home.open(options.home)
    if options.resume:
        story = Story.load(home, options.resume)
    else:
        story = Story(demo_plan(options.plan), options.seed, str(home.path))
        story.save()
    output.note(f"run {story.run_id}; if it is interrupted: demo --resume {story.run_id}")
    Demo(story, output, data=options.data).run()
    result = summary(story)
    page = write_story(story, result)
    for task, line in result["success"].items():
        before, after = line["before"], line["after"]
        output.say(f"{task}: {_rate(before)} before, {_rate(after)} after: {line['verdict']}")
    output.say(f"report: {page}")
    return {**result, "report": str(page)}


def _rate(value: Mapping[str, Any]) -> str:
    return f"{100 * value['success']:.0f} % of {value['n']}"


def _record_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True, help="a task's name from the station's settings")
    parser.add_argument("--kind", choices=[str(EpisodeKind.TELEOP), str(EpisodeKind.HUMAN)], default="teleop")
    parser.add_argument("--takes", type=positive, default=1)
    parser.add_argument("--seconds", type=seconds, default=10.0, help="length of one take")
    parser.add_argument("--outcome", choices=[str(outcome) for outcome in Outcome], default=str(Outcome.UNLABELLED))
    parser.add_argument("--play", action="store_true", help="simulated station: the scripted operator or hand does it")


def _record(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    home, settings = _station_of(options)
    settings.instruction(options.task)  # an unknown task is refused before anything moves
    _finish_leftovers(Home(home), output)
    cli_upkeep.check_before(Home(home), settings, output)
    kind, takes = EpisodeKind(options.kind), []
    with (
        output.progress(f"recording {options.task}") as step,
        running_station(home, settings, threads=options.threads) as station,
    ):
        cli_upkeep.check_live(station, output)
        for done in range(options.takes):
            step(done, options.takes)
            if options.play:
                sealed = play_take(station, options.task, kind)
            else:
                sealed = record_take(station, options.task, kind, options.seconds, Outcome(options.outcome))
            takes.append({"id": sealed.episode_id, "frames": sealed.frames, "duration_s": sealed.duration_s})
            step(done + 1, options.takes)
    for take in takes:
        output.say(f"{take['id']}: {take['frames']} items in {take['duration_s']:.1f} s")
    return {"episodes": takes}


def _finish_leftovers(home: Home, output: Output) -> None:
    """Seal what a crash left before recording goes on, and say what was kept."""
    if not any(home.episodes.glob("*" + PARTIAL_SUFFIX)):
        return
    with output.progress("finishing interrupted takes") as step:
        report = finish_leftovers(home, step)
    for message in report.messages:
        output.note(message)


def _teleoperate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", help="record what is done as a take of this task")
    parser.add_argument("--seconds", type=seconds, default=0.0, help="end by itself (devices other than the keyboard)")


def _teleoperate(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    home, settings = _station_of(options)
    if options.task:
        settings.instruction(options.task)
    by_keys = settings.teleop.kind == "keyboard"
    if by_keys and not sys.stdin.isatty():
        raise WorkbenchError("teleoperation needs a terminal to read keys from", "Unattended: `record --play`")
    with running_station(home, settings, threads=options.threads) as station:
        if options.task:
            station.start_take(options.task, EpisodeKind.TELEOP)
        if by_keys:
            output.note("w a s d: move; r f: up, down; q e: turn; space: gripper; x: end")
            spent_s, episode_id = importlib.import_module("workbench.cli_keys").follow_keys(station), ""
        else:
            spent_s, episode_id = _follow_device(station, options.seconds, output)
        if options.task and not episode_id:
            episode_id = station.stop_take()
    output.say(f"take {episode_id}" if episode_id else "done; nothing was recorded")
    return {"episode": episode_id, "seconds": spent_s}


def _follow_device(station: Station, most_s: float, output: Output) -> tuple[float, str]:
    """Let the station's device drive until Ctrl-C, the end of the time, or a take judged with one of its buttons.

    Says what the device says. Returns the seconds it took and the take that was judged, "" if none was.
    """
    started_s, said, sealed = time.monotonic(), "", queue.SimpleQueue[str]()
    with station.bus.subscribe(TakeSealed, lambda event: sealed.put(event.episode_id)):
        station.operate()
        with contextlib.suppress(KeyboardInterrupt):
            while sealed.empty() and (not most_s or time.monotonic() - started_s < most_s):
                driver = station.status().driver
                words = driver.device if driver.state in ("correcting", "ready") else f"{driver.state}: {driver.reason}"
                if words and words != said:
                    output.note(words)
                    said = words
                    _show_code(words, output)
                time.sleep(0.1)
    return round(time.monotonic() - started_s, 2), "" if sealed.empty() else sealed.get()


def _show_code(words: str, output: Output) -> None:
    """An address among the words, for the camera of the phone that shall open it."""
    address = next((word for word in words.split() if word.startswith("https://")), "")
    if address and sys.stderr.isatty():
        with contextlib.suppress(ValueError):  # too long for a code; the words hold it anyway
            output.note("\n" + qr_text(address))


def _station_of(options: argparse.Namespace) -> tuple[Path, Settings]:
    home = Home.open(options.home).path
    return home, load_settings(home)


DEMO = Verb(_demo_arguments, _demo)
RECORD = Verb(_record_arguments, _record)
TELEOPERATE = Verb(_teleoperate_arguments, _teleoperate)
