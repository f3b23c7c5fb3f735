"""Where ``models.forgetting`` writes what it measured, take by take. Free of torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = "held_out.jsonl"


def measured(folder: Path) -> dict[str, dict[str, Any]]:
    """What is known so far, by take; a line that a kill cut short is not."""
    path, found = folder / RESULTS, {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            value = json.loads(line)
            found[str(value["take"])] = dict(value)
        except (ValueError, KeyError, TypeError):
            continue
    return found
