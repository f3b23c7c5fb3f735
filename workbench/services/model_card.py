"""The page that goes with an exported model: what it is, where it comes from, how it measures, how it drove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from models.registry import ModelRecord, overrides, read_record
from models.stages import TITLES
from storage.layout import Home
from workbench.core.errors import NotFoundError
from workbench.services.library import Library
from workbench.services.model_figures import figures
from workbench.services.track_record import TrackRecord, record_of


def model_card(home: Path, model_id: str) -> str:
    """Markdown. NotFoundError with the nearest id."""
    root = Home.open(home)
    record = read_record(root, model_id)
    with Library(home) as library:
        known = {take.id: (take.task, str(take.kind)) for take in library.episodes(trashed=None)}
        done = record_of(library, home, model_id)
    parts = [
        f"# {TITLES[record.stage]} {record.id}\n",
        _table(("", ""), _facts(root, record)),
        "## Where it comes from\n",
        _table(("model", "stage", "made", "takes"), _line_of(root, record)),
        "## Takes it learnt from\n",
        _table(("task", "kind", "takes"), _takes(record, known)),
        "## Held-out figures\n",
        _table(("figure", "value", "95 % interval", "windows"), _figures(record)),
        "## How it drove\n",
        _table(("task", "success"), [*done.trials.items(), ("all", done.all)] if done.trials else ()),
        *_series(done),
        "## Files\n",
        _FILES,
    ]
    return "\n".join(parts)


def _facts(home: Home, record: ModelRecord) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("made", record.created_at),
        ("run", record.run_id),
        ("preset", record.preset),
        ("recipe", record.recipe_hash),
        ("tasks", ", ".join(record.tasks)),
    ]
    if isinstance(imported := record.metrics.get("imported"), Mapping):
        facts.append(("imported from", f"{imported.get('file')}, SHA-256 {imported.get('sha256')}"))
        facts += [(word, line) for word in ("uses", "limits") for line in imported.get(word, ())]
    if record.gate:
        reasons = "; ".join(str(reason) for reason in record.gate.get("reasons", ()))
        facts.append(("check for forgetting", f"{'not passed' if record.refused else 'passed'} {reasons}".strip()))
    facts += [("used all the same because", reason) for reason in overrides(home, record.id)]
    return facts


def _line_of(home: Home, record: ModelRecord) -> list[tuple[object, ...]]:
    """The model and what it was built on, newest first; a model that is gone keeps its id."""
    rows: list[tuple[object, ...]] = []
    waiting, seen = [record.id], set()
    while waiting:
        model_id = waiting.pop(0)
        if model_id in seen:
            continue
        seen.add(model_id)
        try:
            known = read_record(home, model_id)
        except NotFoundError:
            rows.append((model_id, "no longer here", "", ""))
            continue
        rows.append((known.id, TITLES[known.stage], known.created_at, len(known.data)))
        waiting += [other for other in (known.parent, *reversed(list(known.bases.values()))) if other]
    return rows


def _takes(record: ModelRecord, known: dict[str, tuple[str, str]]) -> list[tuple[object, ...]]:
    counts = Counter(known.get(take, ("no longer here", "")) for take, _ in record.data)
    return [(task, kind, n) for (task, kind), n in sorted(counts.items())]


def _figures(record: ModelRecord) -> list[tuple[object, ...]]:
    return [
        (f.name, f"{f.value:.4g}", f"{f.interval[0]:.3f} to {f.interval[1]:.3f}" if f.interval else "", f.n or "")
        for f in figures(record)
        if not f.name.startswith("by_task.")
    ]


def _series(done: TrackRecord) -> list[str]:
    return [f"- trial series {line.id}, same scenes: {line.verdict}" for line in done.series if line.verdict]


def _table(columns: tuple[str, ...], rows: object) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    filled = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]  # type: ignore[attr-defined]
    return "\n".join([*lines, *filled, ""]) if filled else "Nothing is known.\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


_FILES = """- `weights.json` and the safetensors file it names: all tensors, with their SHA-256; nothing in them is code
- `recipe.json`: every setting of the training
- `statistics.json`: scales of actions, cameras and instructions in order, the picture encoder's settings
- `model.json`: the record; copied into `models/` under its id, this folder is the model again
- `export.json`: every file's size, and how an ONNX form compares
"""
