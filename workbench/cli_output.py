"""What a verb says: tables and sentences for people, one JSON object for scripts, progress on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

Step = Callable[[int, int], None]
LINE_EVERY_S = 5.0
PIPE_WIDTH = 240  # columns of a table that goes to a file or another program


class Output:
    """Where one verb writes. Standard output carries the answer only; everything on the way goes to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._answer = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        if not self._answer.is_terminal:
            self._answer.width = PIPE_WIDTH
        self._aside = Console(file=sys.stderr, soft_wrap=True, highlight=False)
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """A sentence of the answer, for people; left out with ``--json``."""
        if not self._as_json:
            self._answer.print(text, markup=False)

    def note(self, text: str) -> None:
        """A line about what is going on, on standard error, with the seconds since the start."""
        self._aside.print(f"[{time.monotonic() - self._started:7.1f} s] {text}", markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table of the answer, for people; left out with ``--json``."""
        if self._as_json:
            return
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
        for name in columns:
            table.add_column(name, overflow="fold", no_wrap=name == "id")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        self._answer.print(table)

    def finish(self, result: Mapping[str, Any]) -> None:
        """The JSON object, as the last line, when it was asked for."""
        if self._as_json:
            sys.stdout.write(json.dumps(result, ensure_ascii=False, default=_plain) + "\n")
            sys.stdout.flush()

    def failed(self, sentence: str) -> None:
        """One sentence on standard error; the same in the JSON object when it was asked for."""
        self._aside.print(f"error: {sentence}", markup=False)
        self.finish({"error": sentence})

    @contextmanager
    def progress(self, title: str) -> Iterator[Step]:
        """A function ``step(done, total)``: a moving bar on a terminal, a line every few seconds elsewhere."""
        if self._aside.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(*columns, TimeRemainingColumn(), console=self._aside) as bars:
                task = bars.add_task(title, total=None)
                yield lambda done, total: bars.update(task, completed=done, total=total)
            return
        yield _Lines(self, title)


class _Lines:
    """Progress for logs and pipes."""

    def __init__(self, output: Output, title: str) -> None:
        self._output, self._title = output, title
        self._last_s, self._told = float("-inf"), (-1, -1)

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if (done, total) != self._told and (now_s - self._last_s >= LINE_EVERY_S or done == total):
            self._last_s, self._told = now_s, (done, total)
            self._output.note(f"{self._title}: {done}/{total}")


def _plain(value: object) -> object:
    """JSON for what is nearly plain: paths, tuples' relatives, NumPy numbers."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"cannot print a {type(value).__name__} as JSON")
