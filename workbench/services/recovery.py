"""What a start does by itself about takes that a crash had interrupted."""

from __future__ import annotations

from storage.doctor import finish_leftovers
from storage.layout import Home
from workbench.core.bus import Bus
from workbench.core.events import TakesRecovered, UpkeepProgressed
from workbench.services.library import Library

CHORE = "finishing interrupted takes"


def recover(home: Home, bus: Bus) -> None:
    """Seal what a crash left and enter it into the catalogue. Blocks; a take that is being recorded is not touched.

    Publishes ``UpkeepProgressed`` per leftover and, if there were any, ``TakesRecovered``.
    """
    report = finish_leftovers(home, lambda done, total: bus.publish(UpkeepProgressed(CHORE, done, total)))
    if report.finished or report.truncated:
        with Library(home.path, bus):  # opening it enters what appeared on disk and tells the bus
            pass
    if report.messages:
        bus.publish(TakesRecovered(tuple(report.messages)))
