"""What every page is given: the services and the window's own helpers. Nothing is looked up globally."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ui.actions import Actions
from ui.bridge import Bridge
from ui.cues import Cues
from ui.preferences import Preferences
from ui.theme import Theme
from workbench.core.bus import Bus
from workbench.services.jobs import Jobs
from workbench.services.library import Library
from workbench.services.notices import NoticeLog
from workbench.services.station import Station


@dataclass(slots=True)
class Desk:
    """Made by the window, shared by its pages; used in the window's thread.

    Attributes:
        preferences: what this person chose about the window. notices: everything that was said. cues: short tones.
        station, library, jobs: None until they have been opened in the background; pages wait for ``opened``.
        go: shows another page; the words after it are handed to that page (a take's id, for example).
    """

    home: Path
    bus: Bus
    bridge: Bridge
    theme: Theme
    actions: Actions
    go: Callable[[str, str], None]
    preferences: Preferences
    notices: NoticeLog
    cues: Cues
    station: Station | None = None
    library: Library | None = None
    jobs: Jobs | None = None
    running: bool = False
    task: str = field(default="")

    def tasks(self) -> list[tuple[str, str]]:
        """(name, instruction) of every task of the station."""
        if self.station is None:
            return []
        return [(task.name, task.instruction) for task in self.station.settings.tasks]
