"""From the key that starts a take to its label: countdown, recording, practice, and words for the last take."""

from __future__ import annotations

from collections.abc import Callable

from ui import words
from ui.pages.page import Page
from ui.translate import t
from ui.widgets.countdown import BigNumber, Countdown
from workbench.core.events import TakeDiscarded, TakeSealed
from workbench.core.types import EpisodeKind, Outcome
from workbench.services import practice
from workbench.services.library import Library
from workbench.services.recorder import RecorderStatus
from workbench.services.station import Station

COUNTDOWN_S, _USUAL_S = "record.countdown_s", 3


class TakeFlow:
    """What happens to takes on the record page. The window's thread only.

    Attributes:
        kind: who is recorded. practising: takes are thrown away. recording: as the station said last.
        fresh: the last take while it can still be labelled here, "" if none.
        counts_down: a take begins some seconds after the key.
    """

    def __init__(self, page: Page, number: BigNumber) -> None:
        self._page, self._number = page, number
        self.countdown = Countdown(self._count, page)
        self.kind = EpisodeKind.TELEOP
        self.practising = self.recording = False
        self.fresh = ""
        self._seconds = page.desk.preferences.get(COUNTDOWN_S, _USUAL_S)
        self._ending = False
        self._practice_takes: set[str] = set()
        self._labelled = False
        self._ended_take = self._awaited = ""

    # commands -------------------------------------------------------------------------------------------------------

    @property
    def counts_down(self) -> bool:
        return self._seconds > 0

    def count_down(self, on: bool) -> None:
        """Whether takes begin some seconds after the key; remembered."""
        self._seconds = _USUAL_S if on else 0
        self._page.desk.preferences.keep(COUNTDOWN_S, self._seconds)

    def start(self) -> None:
        """Begin a take, after the countdown if there is one."""
        self._page.notice.clear()
        self.fresh = ""
        self.countdown.start(self._seconds, self._begin)

    def toggle(self) -> None:
        """What a single pedal does: start, stop (the label comes after), or take the start back."""
        if self.countdown.running:
            self.countdown.cancel()
        elif self.recording:
            self.end(Outcome.UNLABELLED)
        elif self._page.desk.actions["record.start"].isEnabled():
            self.start()

    def end(self, outcome: Outcome) -> None:
        """End the take with a label; with none in progress, label the last one."""
        if self.recording:
            self._end(outcome)
        elif self.fresh and outcome is not Outcome.UNLABELLED:
            self._label(outcome)

    def discard(self) -> None:
        """Take the start back, throw the take in progress away, or the last one."""
        if self.countdown.cancel():
            return
        if self.recording:
            self._end(None)
        elif self.fresh:
            self._trash_last()

    # what happened --------------------------------------------------------------------------------------------------

    def observe(self, recorder: RecorderStatus) -> None:
        """The station's newest word, which may be a quarter of a second old: what this page knows better counts."""
        live = recorder.state == "recording" and recorder.episode_id != self._ended_take
        if live or recorder.state == "faulted":
            self._awaited = ""
        self.recording = live or bool(self._awaited)

    def sealed(self, event: TakeSealed) -> None:
        """A take is on disk, whoever ended it."""
        self._over(event.episode_id)
        if event.episode_id in self._practice_takes:  # ended by a button of the device, or by a fault
            self._forget(event.episode_id)
            return
        self.fresh = event.episode_id if self._page.isVisible() else ""  # a model's attempt is judged where it drove
        length, pictures = words.duration(event.duration_s), words.count(event.frames, "picture")
        saved = t("Saved: {length}, {pictures}", length=length, pictures=pictures)
        hint = "" if self._labelled else t("Label it now: → success, ↓ failure, ← discard")
        self._page.notice.done(f"{saved}. {hint}" if hint else saved)

    def discarded(self, event: TakeDiscarded) -> None:
        """A take lies in the trash."""
        self._over(event.episode_id)
        if event.episode_id in self._practice_takes:
            self._forget(event.episode_id)
        else:
            self._page.notice.done(t("The take is in the trash"))

    def sweep(self) -> None:
        """Remove what an interrupted practice left."""
        library = self._page.desk.library
        if library is not None:
            self._page.ask("edits", lambda: practice.sweep(library))

    # in between -----------------------------------------------------------------------------------------------------

    def _count(self, left: int) -> None:
        self._number.say(str(left) if left else "")
        if left:
            self._page.desk.cues.play("tick")

    def _begin(self) -> None:
        task, kind, practising = self._page.desk.task, self.kind, self.practising
        self._labelled = False

        def begun(episode_id: str) -> None:
            self._awaited = episode_id if episode_id != self._ended_take else ""
            self.recording = bool(self._awaited)
            if practising:
                self._practice_takes.add(episode_id)
            self._page.desk.cues.play("start")

        extra = dict(practice.EXTRA) if practising else None
        self._page.order(lambda station: station.start_take(task, kind, extra), begun)

    def _end(self, outcome: Outcome | None) -> None:
        """Ask once: a key pressed twice in a hurry is no second request."""
        if self._ending:
            return
        self._ending = True
        self._labelled = outcome in (Outcome.SUCCESS, Outcome.FAILURE)
        self._page.desk.cues.play("stop")

        def work(station: Station) -> None:
            try:
                if outcome is None or station.status().recorder.episode_id in self._practice_takes:
                    station.discard_take()
                else:
                    station.stop_take(outcome)
            finally:
                self._page.desk.bridge.post(self._ended)

        self._page.order(work)

    def _ended(self) -> None:
        self._ending = False

    def _over(self, episode_id: str) -> None:
        self._ended_take, self._awaited = episode_id, ""
        self._ending = self.recording = False

    def _label(self, outcome: Outcome) -> None:
        library, take = self._page.desk.library, self.fresh
        if library is not None:
            said = words.outcome(outcome).word
            done = t("The last take: {outcome}", outcome=said)
            self._edit(library, lambda: library.label(take, outcome), done)

    def _trash_last(self) -> None:
        library, take = self._page.desk.library, self.fresh
        if library is not None:
            self.fresh = ""
            done = t("The last take is in the trash")
            self._edit(library, lambda: library.trash([take]), done)

    def _edit(self, library: Library, change: Callable[[], object], done: str) -> None:
        """Change the last take, which the catalogue may not have heard of yet."""

        def work() -> None:
            library.sync()
            change()

        self._page.ask("edits", work, lambda _none: self._page.notice.done(done))

    def _forget(self, episode_id: str) -> None:
        library = self._page.desk.library
        if library is None:
            return

        def gone(_ids: tuple[str, ...]) -> None:
            self._practice_takes.discard(episode_id)
            self._page.notice.done(t("That was practice: nothing was kept"))

        self._page.ask("edits", lambda: practice.forget(library, [episode_id]), gone)
