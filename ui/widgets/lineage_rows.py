"""In which order models are drawn and which lines lead from one to the next: every line of descent is one lane.

A model's newest line of descendants goes on in its own lane; others branch off to the right, above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.services.model_shelf import ShelvedModel


@dataclass(frozen=True, slots=True)
class LineageRow:
    """One model and the lines in its row.

    Attributes:
        lane: 0 is the leftmost. from_lane: the parent's lane, -1 for the first of a line.
        passing: lanes of other models whose line goes through this row.
        goes_on: its own lane is continued below.
    """

    model: ShelvedModel
    lane: int
    from_lane: int
    passing: tuple[int, ...]
    goes_on: bool


def lineage_rows(models: Sequence[ShelvedModel]) -> tuple[LineageRow, ...]:
    """Parents above children; the line with the newest model first. A circle of parents is cut where it begins."""
    known = {model.id: model for model in models}
    children = _children(models, known)
    newest = _newest(models, known)
    reached: set[str] = set()
    rows: list[LineageRow] = []
    roots = [model.id for model in models if model.parent not in known]
    for root in [*sorted(roots, key=lambda name: newest[name], reverse=True), *known]:  # what is left is in circles
        if root not in reached:
            _walk(root, known, children, newest, reached, rows)
    return tuple(rows)


def _walk(
    root: str,
    known: dict[str, ShelvedModel],
    children: dict[str, list[str]],
    newest: dict[str, str],
    reached: set[str],
    rows: list[LineageRow],
) -> None:
    """Rows of one tree; without recursion, as a line may be a thousand models long."""
    waiting: list[tuple[str, int, int, tuple[int, ...]]] = [(root, 0, -1, ())]
    while waiting:
        name, lane, from_lane, passing = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        line = sorted((c for c in children[name] if c not in reached), key=lambda child: (newest[child], child))
        rows.append(LineageRow(known[name], lane, from_lane, passing, bool(line)))
        if line:
            waiting.append((line[-1], lane, lane, passing))  # last in, but the branches come off the pile before it
            waiting += [(branch, lane + 1, lane, (*passing, lane)) for branch in reversed(line[:-1])]


def _children(models: Sequence[ShelvedModel], known: dict[str, ShelvedModel]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {name: [] for name in known}
    for model in models:
        if model.parent in known and model.parent != model.id:
            children[model.parent].append(model.id)
    return children


def _newest(models: Sequence[ShelvedModel], known: dict[str, ShelvedModel]) -> dict[str, str]:
    """When the newest descendant of each was made (itself included)."""
    newest: dict[str, str] = {}
    for model in sorted(models, key=lambda model: model.created_at, reverse=True):
        name = model.id
        while name in known and name not in newest:  # whoever is reached first is reached by its newest descendant
            newest[name] = model.created_at
            name = known[name].parent
    return newest
