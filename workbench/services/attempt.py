"""One attempt of a policy while it goes on: what it was told, what people said and what looked unusual, with times."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from storage.marks import TRIAL
from workbench.core.files import new_id


@dataclass(frozen=True, slots=True)
class Policy:
    """Who drives: a model's id, and which of its heads ("remote" for a policy server)."""

    model_id: str
    head: str


class Attempt:
    """What goes into the take's manifest beside the streams. Any thread.

    Times are host times (CLOCK_MONOTONIC, ns), like those of the streams.

    Attributes:
        task, instruction: what it is told now.
    """

    def __init__(self, policy: Policy, task: str, instruction: str, t_ns: int) -> None:
        self.policy, self.task, self.instruction = policy, task, instruction
        self._began_ns = t_ns
        self._lock = threading.Lock()
        self._asked: list[dict[str, Any]] = []
        self._notes: list[dict[str, Any]] = []
        self._hints: list[dict[str, Any]] = []
        self._shown: frozenset[str] = frozenset()
        self._corrected_s = 0.0
        self.ask(task, instruction, t_ns)

    def ask(self, task: str, instruction: str, t_ns: int) -> None:
        """It is told something else from now on."""
        with self._lock:
            self.task, self.instruction = task, instruction
            self._asked.append({"t_ns": t_ns, "task": task, "instruction": instruction})

    def note(self, text: str, t_ns: int) -> None:
        """A person's words about this moment."""
        with self._lock:
            self._notes.append({"t_ns": t_ns, "text": text})

    def hint(self, shown: Iterable[tuple[str, str]], t_ns: int) -> None:
        """What looks unusual now, as (kind, words); a hint that goes on is kept once, with its first words."""
        with self._lock:
            now = dict(shown)
            self._hints += [{"t_ns": t_ns, "kind": kind, "words": now[kind]} for kind in now if kind not in self._shown]
            self._shown = frozenset(now)

    def corrected(self, seconds: float) -> None:
        """A person has just moved the arm for so long."""
        with self._lock:
            self._corrected_s += seconds

    def extra(self) -> dict[str, Any]:
        """For the take's manifest."""
        with self._lock:
            found: dict[str, Any] = {
                "instructions": list(self._asked),
                "notes_at": list(self._notes),
                "hints": list(self._hints),
            }
            found["corrected_s"] = round(self._corrected_s, 2)
        return {name: value for name, value in found.items() if value}

    def words(self) -> str:
        """All notes, one a line."""
        with self._lock:
            return "\n".join(entry["text"] for entry in self._notes)

    def alone(self) -> bool:
        """True while nobody has moved the arm for the policy."""
        with self._lock:
            return self._corrected_s == 0.0

    def trial(
        self, success: bool, episode_id: str, seconds: float, latency_ms: float, ended_by: str, seed: int
    ) -> dict[str, Any]:
        """The attempt as a trial of its model, as the catalogue reads it out of the manifest.

        A policy that somebody had to help has not succeeded, even if the task was done in the end.
        """
        alone = self.alone()
        at = datetime.datetime.now(datetime.UTC).isoformat()
        return {
            TRIAL: {
                "id": new_id(),
                "at": at,
                "model_id": self.policy.model_id,
                "task": self.task,
                "success": success and alone,
                "episode_id": episode_id,
                "head": self.policy.head,
                "seed": seed,
                "seconds": round(seconds, 3),
                "latency_ms": round(latency_ms, 3),
                "note": self.words() or ended_by,
                "extra": {} if alone else {"corrected_s": round(self._corrected_s, 2)},
            }
        }

    def seconds(self, t_ns: int) -> float:
        """For how long it has gone on."""
        return (t_ns - self._began_ns) / 1e9
