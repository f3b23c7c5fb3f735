"""What commands depend on, and what one command is. Free of Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """What commands depend on, gathered a few times a second.

    Attributes:
        page: name of the page on screen.
        running: the station has started; simulated: it is the simulated one.
        recorder, driver: their states.
        has_task, has_model: something is chosen on the page on screen.
        takes: chosen takes in the library; trash: the trash is on show; open_take: one take is open for looking.
        job: state of the chosen job, "" if none; jobs_ready: a training can be started.
        tuned: the chosen training is a fine-tuning with a receipt. listing: a list of takes to tick is open.
        model_chosen: a model of the list is chosen. playing: the simulated operator is at work.
        asking: the library asks for a ``name`` or whether something is ``really`` meant.
        cameras: pictures come. looking: the station is being looked over.
        proposal: settings are proposed: ``new`` ones, or the ``same`` as now.
        counting: a take begins in seconds. fresh: the last take can still be labelled where it was recorded.
        practice: takes are thrown away. ghost: a reference picture lies over the live ones. pedal: one is known.
        marked: a model is called A and another one is chosen; comparing: they are side by side. rollout: one of its
            drives is chosen. exporting: a model is being written. undoable: one was thrown away and can come back.
        report: an alignment's report is on show; clips: and its clips can be looked through.
        reading: the panel below the pages that is open: ``notices``, ``about`` or "".
        panel: what stands in place of the open take: ``import``, ``export``, ``faces``, ``compare`` or "".
        exchange: what that panel does: ``idle``, ``looking``, ``planned``, ``working`` or ``done``.
    """

    page: str = "record"
    running: bool = False
    simulated: bool = False
    recorder: str = "idle"
    driver: str = "parked"
    has_task: bool = False
    has_model: bool = False
    takes: int = 0
    trash: bool = False
    open_take: bool = False
    job: str = ""
    jobs_ready: bool = False
    model_chosen: bool = False
    tuned: bool = False
    listing: bool = False
    playing: bool = False
    asking: str = ""
    cameras: bool = False
    looking: bool = False
    proposal: str = ""
    counting: bool = False
    fresh: bool = False
    practice: bool = False
    ghost: bool = False
    pedal: bool = False
    reading: str = ""
    report: bool = False
    marked: bool = False
    comparing: bool = False
    rollout: bool = False
    exporting: bool = False
    undoable: bool = False
    clips: bool = False
    panel: str = ""
    exchange: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a person can do.

    Attributes:
        page: where its keys work, "" everywhere.
        when: whether it makes sense now (beside being on its page).
        role: how its button looks: primary, good, bad, warn or "".
        urgent: its keys work even when a list or menu has popped up.
    """

    id: str
    text: str
    keys: tuple[str, ...]
    page: str
    hint: str
    when: Callable[[Situation], bool] = lambda _situation: True
    role: str = ""
    checkable: bool = False
    urgent: bool = False

    def enabled(self, situation: Situation) -> bool:
        """True if it may be used now."""
        return (not self.page or self.page == situation.page) and self.when(situation)
