"""The forgetting receipt as a section of a run's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.core.files import read_json
from workbench.services.blocks import Block, Section
from workbench.services.evaluation import Rate
from workbench.services.finetune_time import RECEIPT
from workbench.services.forgetting import FIGURES

ARROWS: Mapping[str, str] = {"better": "▲ better", "worse": "▼ worse", "no clear change": "= no clear change"}


def receipt_sections(folder: Path) -> tuple[Section, ...]:
    """One section if the run has a receipt, else none."""
    if not (folder / RECEIPT).is_file():
        return ()
    receipt = read_json(folder / RECEIPT)
    return (Section("What it did to every task", blocks=tuple(_blocks(receipt))),)


def _blocks(receipt: Mapping[str, Any]) -> Iterator[Block]:
    gate, tasks = receipt["gate"], receipt["tasks"]
    verdict = "The new model may be used" if gate["passed"] else "The new model is not put into use"
    said = [("▲ " + reason, "") for reason in gate["reasons"]] + [(remark, "") for remark in gate["remarks"]]
    yield Block(verdict, columns=("", ""), rows=tuple(said))
    rows = tuple(
        (
            task.replace("_", " "),
            "new" if line["new"] else "",
            *_driven(line),
            ARROWS.get(line["verdict"], line["verdict"]),
        )
        for task, line in tasks.items()
    )
    yield Block("Success in closed loop", columns=("task", "", "before", "after", ""), rows=rows, shape="wide")
    for name, words in FIGURES.items():
        table = tuple(
            _held_out(task, line["held_out"][name]) for task, line in tasks.items() if name in line["held_out"]
        )
        if table:
            columns = ("task", "before", "after", "change", "takes", "")
            caption = f"Held-out takes: {words}, mean and 95 % interval over takes, lower is better"
            yield Block(caption, columns=columns, rows=table, shape="wide")
    untold = tuple(
        (task.replace("_", " "), line["why_not_measured"]) for task, line in tasks.items() if not line["held_out"]
    )
    if untold:
        yield Block("Not measured on held-out takes", columns=("task", "why"), rows=untold)


def _driven(line: Mapping[str, Any]) -> tuple[str, str]:
    if line["before"] is None:
        return f"not driven: {line['why_not_driven']}", ""
    return str(Rate.from_json(line["before"])), str(Rate.from_json(line["after"]))


def _held_out(task: str, figure: Mapping[str, Any]) -> tuple[str, ...]:
    values = (_with_interval(figure[name]) for name in ("before", "after", "change"))
    return (task.replace("_", " "), *values, str(figure["n"]), ARROWS[figure["verdict"]])


def _with_interval(value: Mapping[str, Any]) -> str:
    if value["interval"] is None:
        return f"{value['mean']:.3g}"
    low, high = value["interval"]
    return f"{value['mean']:.3g} ({low:.3g} to {high:.3g})"
