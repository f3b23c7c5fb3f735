"""The report of an alignment: ``alignment.json`` turned into ``report.json`` and into sections of ``report.html``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json, write_json
from workbench.core.types import Image
from workbench.services.alignment_figures import COUNT, PLAIN, SHARE, Figure, Group, groups
from workbench.services.alignment_pictures import DIRECTIONS, Exhibits
from workbench.services.blocks import Block, Section
from workbench.services.figures import film_strip, heat_pixels, line_chart, scatter
from workbench.services.jobs import Jobs
from workbench.services.library import Library
from workbench.services.machine import child_environment, machine, versions
from workbench.services.report_arrays import own_item_matrix

FIGURES, REPORT = "alignment.json", "report.json"
EXPLAINER = "models.explain"
SHOWN_CLIPS, SHOWN_ROBOTS = 6, 6
_LOG_BYTES = 400
_UNITS = {SHARE: " %", COUNT: "", PLAIN: ""}
_IN_CONTROL = {
    "retrieval_top1": "own action found first (of 256)",
    "retrieval_top5": "own action among five (of 256)",
    "token_accuracy": "tokens right",
    "decode_rmse_mm": "error of the decoded motion, mm",
    "decode_r2": "R2 of the decoded displacement",
    "probe_r2": "R2 from the action latents",
    "probe_r2_irrelevant": "R2 from the irrelevant latents",
    "forward_error": "unexplained change of the picture",
}


@dataclass(frozen=True, slots=True)
class AlignmentReport:
    """Everything a report says, without pictures.

    Attributes:
        found: ``alignment.json``; groups: its figures with intervals; metrics: what the training measured itself.
    """

    run_id: str
    found: Mapping[str, Any]
    groups: tuple[Group, ...]
    metrics: Mapping[str, Any]

    def figure(self, name: str) -> Figure | None:
        """One figure by its name, None if it could not be measured."""
        return next((f for group in self.groups for f in group.figures if f.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """``report.json``."""
        return {
            "run": self.run_id,
            "model": self.found.get("model", ""),
            "held_out": self.found["held_out"],
            "windows": self.found["windows"],
            "takes": self.found["takes"],
            "figures": {f.name: f.to_json() for group in self.groups for f in group.figures},
            "groups": [
                {"title": group.title, "how": group.how, "figures": [f.name for f in group.figures]}
                for group in self.groups
            ],
            "codes": {"robot_actions": self.found["codec"]["codes"], "robot_pictures": self.found["codes_seen"]}
            | ({"human_pictures": self.found["human"]["codes"]} if self.found["human"].get("codes") else {}),
            "reliability": self.found["reliability"],
            "sureness": self.found["sureness"],
            "control": self.metrics.get("control"),
            "skipped": self.found["skipped"],
            "machine": machine(),
            "versions": versions(),
        }


def has_report(home: Path, run_id: str) -> bool:
    """True if ``read_report`` would find something."""
    folder = Home.open(home).runs / run_id
    return (folder / FIGURES).exists() and (folder / REPORT).exists()


def read_report(home: Path, run_id: str) -> AlignmentReport:
    """The report of a run; WorkbenchError if it was not made yet or cannot be read. Files only, no new intervals."""
    folder = Home.open(home).runs / run_id
    if not (folder / FIGURES).exists():
        raise WorkbenchError(f"the run {run_id} has no report yet", "Let it end, or make its report on the Align page")
    try:
        found, written = read_json(folder / FIGURES), read_json(folder / REPORT)
        metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
        figures = {name: Figure.from_json(name, value) for name, value in written["figures"].items()}
        made = tuple(
            Group(group["title"], group["how"], tuple(figures[name] for name in group["figures"]))
            for group in written["groups"]
        )
        return AlignmentReport(run_id, found, made, metrics)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise WorkbenchError(f"the report of run {run_id} is damaged ({error})", "Make it again") from error


def matrix_of(home: Path, run_id: str) -> Image | None:
    """Pictures against actions, a square piece of the similarities with everybody's own on the diagonal; None if the
    training left none."""
    path = Home.open(home).runs / run_id / "report.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        if not {"retrieval", "tokens_true"} <= set(file.files):
            return None
        return heat_pixels(own_item_matrix(file["retrieval"], file["tokens_true"]), size=452)


def alignment_json(home: Path, run_id: str) -> dict[str, Any]:
    """The figures of a run's report as scripts read them: value, interval, n and what to compare with, by name."""
    return {"figures": {f.name: f.to_json() for group in read_report(home, run_id).groups for f in group.figures}}


def explain_run(home: Path, run_id: str, stop: Callable[[], bool] = lambda: False) -> AlignmentReport:
    """Measure a finished alignment in a process of its own and write its ``report.json``. Blocks; seconds to a minute.

    ``stop`` is asked several times a second; when it says yes the process is ended and WorkbenchError raised.
    """
    root = Home.open(home)
    status = Jobs(home).status(run_id)
    if not status.model_id:
        raise WorkbenchError(f"the run {run_id} has made no model", "Only a finished alignment can be explained")
    folder = root.runs / run_id
    arguments = [sys.executable, "-m", EXPLAINER, str(root.path), status.model_id, str(folder)]
    _run(arguments, folder / "explain.txt", stop)
    return make_report(home, run_id)


def make_report(home: Path, run_id: str) -> AlignmentReport:
    """``report.json`` from what the explaining process measured; draws the intervals, which takes a second or two."""
    folder = Home.open(home).runs / run_id
    found = read_json(folder / FIGURES)
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
    report = AlignmentReport(run_id, found, groups(found), metrics)
    write_json(folder / REPORT, report.to_json())
    return report


def _run(arguments: list[str], log: Path, stop: Callable[[], bool]) -> None:
    with open(log, "wb") as file:
        environment = {**os.environ, **child_environment()}
        with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment) as child:
            while child.poll() is None:
                if stop():
                    child.terminate()
                    raise WorkbenchError("the report was not finished", "Make it again on the Align page")
                try:
                    child.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
    if child.returncode != 0:
        words = log.read_bytes()[-_LOG_BYTES:].decode(errors="replace").strip().splitlines()
        raise WorkbenchError(f"the report could not be made: {words[-1] if words else 'no reason given'}", f"See {log}")


# for people ---------------------------------------------------------------------------------------------------------


def shown(value: float | None, unit: str) -> str:
    """A value with its unit, in few characters."""
    if value is None:
        return "not measured"
    if unit == SHARE:
        return f"{100 * value:.1f} %"
    digits = f"{value:.0f}" if unit == COUNT else _digits(value)
    return f"{digits}{_UNITS.get(unit, f' {unit}')}"


def _digits(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2f}"


def shown_interval(figure: Figure) -> str:
    """``41.4 to 46.6 %``, or "" where it cannot be said."""
    if figure.interval is None:
        return ""
    low, high = figure.interval
    if figure.unit == SHARE:
        return f"{100 * low:.1f} to {100 * high:.1f} %"
    return f"{_digits(low)} to {_digits(high)}{_UNITS.get(figure.unit, f' {figure.unit}')}"


def alignment_sections(home: Path, run_id: str) -> tuple[Section, ...]:
    """Sections of ``report.html`` for a run that has been explained; none for any other."""
    if not has_report(home, run_id):
        return ()
    report = read_report(home, run_id)
    where = "held-out takes" if report.found["held_out"] else "the training takes: too few to hold any out"
    intro = (
        f"Measured on {report.found['windows']} windows of {report.found['takes']} robot takes ({where}). The column "
        "95 % is a bootstrap interval over takes; where a figure has something to compare with, it stands beside it."
    )
    first, *rest = (Section(g.title, g.how, (_table(g),)) for g in report.groups)
    sections = [Section("What was measured", intro), first, *rest, _codes_section(report), _trust_section(report)]
    sections += [_control_section(report)] if report.metrics.get("control") else []
    sections += [_skipped_section(report)] if report.found["skipped"] else []
    return (*sections, *_picture_sections(home, run_id))


def _table(group: Group) -> Block:
    columns = ("", "value", "95 %", "to compare with", "", "windows", "takes")
    rows = tuple(
        (
            figure.words,
            shown(figure.value, figure.unit),
            shown_interval(figure),
            shown(figure.baseline, figure.unit) if figure.baseline is not None else "",
            figure.against,
            figure.n,
            figure.takes,
        )
        for figure in group.figures
    )
    return Block(columns=columns, rows=rows, shape="wide")


def _codes_section(report: AlignmentReport) -> Section:
    uses = report.to_json()["codes"]
    titles = {
        "robot_actions": "what was done",
        "robot_pictures": "read off robot pictures",
        "human_pictures": "read off people's pictures",
    }
    most = max(len(use["positions"]) for use in uses.values())
    columns = ("tokens of", "used", "dead", "perplexity", *(f"position {p}" for p in range(1, most + 1)), "windows")
    rows = tuple(
        (
            titles[name],
            f"{use['used']} of {use['codes']}",
            use["dead"],
            f"{use['perplexity']:.1f}",
            *(f"{part['used']:.0f} used, {part['perplexity']:.1f}" for part in use["positions"]),
            use["n"],
        )
        for name, use in uses.items()
    )
    intro = "Perplexity is how many codes, used equally often, would be as varied; each position has its own."
    return Section("Codes in use", intro, (Block(columns=columns, rows=rows, shape="wide"),))


def _trust_section(report: AlignmentReport) -> Section:
    bins = report.found["reliability"]["bins"]
    curve = {
        "tokens": ([row["confidence"] for row in bins], [row["right"] for row in bins]),
        "as sure as right": ([0.0, 1.0], [0.0, 1.0]),
    }
    rows = tuple(
        (f"{row['from']:.1f} to {row['to']:.1f}", _percent(row["confidence"]), _percent(row["right"]), row["n"])
        for row in bins
    )
    groups = report.found["sureness"]
    sure = tuple((f"{row['confidence']:.2f}", f"{row['rmse_mm']:.1f} mm", row["n"]) for row in groups)
    halves = [_pooled_mm(part) for part in (groups[len(groups) // 2 :], groups[: len(groups) // 2]) if part]
    order = " The surer half of the windows is off by {:.1f} mm, the other by {:.1f} mm."
    return Section(
        "Does the model know when it is right?",
        "Pseudo-labels carry a confidence that weighs them in training. Measured on robot windows, whose tokens are "
        f"known; expected calibration error {report.found['reliability']['ece']:.2f}."
        + (order.format(*halves) if len(halves) == 2 else ""),
        (
            Block("probability given to a token, and how often it was right", svg=line_chart(curve)),
            Block("", columns=("probability", "mean", "right", "tokens"), rows=rows),
            Block("windows from unsure to sure", columns=("confidence", "error", "windows"), rows=sure),
        ),
    )


def _pooled_mm(groups: Sequence[Mapping[str, float]]) -> float:
    """Root mean square over groups of windows."""
    return float(np.sqrt(np.average([row["rmse_mm"] ** 2 for row in groups], weights=[row["n"] for row in groups])))


def _control_section(report: AlignmentReport) -> Section:
    control = report.metrics["control"]
    rows = tuple(
        (words, _plain(report.metrics[name]), _plain(control[name]))
        for name, words in _IN_CONTROL.items()
        if name in report.metrics and name in control
    )
    intro = f"A second network, '{control['name']}', was trained beside it on the same batches and measured alike."
    return Section(
        "Against its control", intro, (Block(columns=("", "this model", "control"), rows=rows, shape="wide"),)
    )


def _skipped_section(report: AlignmentReport) -> Section:
    rows = tuple((reason, count) for reason, count in sorted(report.found["skipped"].items()))
    return Section("Left out", "Takes that could not be learned from.", (Block(columns=("why", "takes"), rows=rows),))


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _picture_sections(home: Path, run_id: str) -> Iterator[Section]:
    exhibits = Exhibits(Home.open(home).runs / run_id)
    latent = exhibits.map()
    held = 100 * sum(latent.share)
    kinds = {"robot": latent.xy[~latent.human], "person": latent.xy[latent.human]}
    ways = {name: latent.xy[latent.direction == number] for number, name in enumerate(DIRECTIONS)}
    yield Section(
        "Map of the action latents",
        f"First two principal components of the latents of held-out windows ({held:.0f} % of their variance). "
        "Motions of one direction should lie together, and people among the robots.",
        (Block("by whose pictures", svg=scatter(kinds)), Block("by the direction they decode to", svg=scatter(ways))),
    )
    with Library(home) as library:
        spread = sorted({int(n) for n in np.linspace(0, exhibits.humans - 1, SHOWN_CLIPS)}) if exhibits.humans else []
        clips = [block for number in spread if (block := _clip_block(exhibits, library, number)) is not None]
        robots = [shot for n in range(min(SHOWN_ROBOTS, exhibits.robots)) if (shot := exhibits.robot(library, n))]
    if clips:
        yield Section(
            "Nearest robot takes for people's clips",
            "Left the clip, now and at the end of the chunk, then the robot windows whose latents are most similar, "
            "one of a take. Orange: the motion read off the clip, begun in the middle of what moved, at the distance "
            "that robots' tools usually have. White: what the robot's tool did.",
            tuple(clips),
        )
    if robots:
        yield Section(
            "Motions in robot pictures",
            "White: what the tool did. Orange: what was read off the two pictures. Lines are straight: the lens's "
            "distortion is left out.",
            tuple(Block(shot.words, picture=film_strip([shot.now, shot.then])) for shot in robots),
        )


def _clip_block(exhibits: Exhibits, library: Library, number: int) -> Block | None:
    near = exhibits.neighbours(library, number)
    if near is None:
        return None
    pictures = [near.human.now, near.human.then]
    pictures += [shot.now for shot in near.robots if shot.now.shape == near.human.now.shape]
    similar = ", ".join(f"{shot.cosine:.2f}" for shot in near.robots if shot.cosine is not None)
    words = f"“{near.human.words}”, confidence {near.confidence:.2f}; similarity of the robots: {similar}"
    return Block(words, picture=film_strip(pictures), shape="wide")
