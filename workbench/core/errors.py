"""The one error that users see: what happened, why, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorkbenchError(Exception):
    """A failure that a person can act on.

    Args:
        what: what happened, as a clause without a full stop ("no take named 'x'").
        next_step: what to do about it, as a sentence.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what.rstrip(".")
        self.next_step = next_step.rstrip(".")
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.what}. {self.next_step}." if self.next_step else f"{self.what}."


class NotFoundError(WorkbenchError):
    """A name that does not exist; the message lists the nearest valid one."""

    @classmethod
    def of(cls, noun: str, name: str, known: Iterable[str]) -> NotFoundError:
        """Build the error for an unknown ``name``, suggesting the closest of ``known``."""
        choices = sorted(known)
        near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
        if near:
            hint = f"Did you mean '{near[0]}'"
        elif choices:
            hint = "Choose one of: " + ", ".join(choices[:12])
        else:
            hint = f"There is no {noun} yet"
        return cls(f"there is no {noun} named '{name}'", hint)


class DeviceError(WorkbenchError):
    """A camera, arm or teleoperation device failed or went away."""


class CorruptTakeError(WorkbenchError):
    """A take on disk does not match what its journal or manifest promises."""


class StateError(WorkbenchError):
    """A request that the current state does not allow."""
