"""What imports and exports share: how they tell their progress and how they are stopped."""

from __future__ import annotations

from collections.abc import Callable

from workbench.core.errors import WorkbenchError

Progress = Callable[[int, int], None]
Watch = Callable[[], None]


class StoppedError(WorkbenchError):
    """Somebody wanted an import or export to stop; raised by a ``Watch``, never a fault of a take."""


def nobody_watches() -> None:
    """The watch of whoever never stops."""
