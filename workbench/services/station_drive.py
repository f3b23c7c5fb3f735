"""A policy at the arm of a station: loading it, driving, holding, ending an attempt and keeping it as a take."""

from __future__ import annotations

import contextlib
import getpass
import time
from typing import Any

from workbench.core.chunks import chunk_spec, unpack_chunk
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import Failed, TakeJudged, TrialScored
from workbench.core.files import new_id
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk, EpisodeKind, Outcome
from workbench.services.anomalies import Anomalies
from workbench.services.attempt import Attempt, Policy
from workbench.services.camera_watch import on_arm
from workbench.services.capture import ring_path
from workbench.services.ending import DONE, Ending
from workbench.services.remote_policy import REMOTE_MAIN, child_values, is_remote
from workbench.services.station_core import StationCore
from workbench.services.station_parts import chunk_steps

_LOOK_S = 0.3
_REST_S = 5.0
_POLL_S = 0.02
_MOVING = ("driving", "correcting")


class DrivingStation(StationCore):
    """A station whose arm may be driven by a policy under a person's eyes."""

    _judgement: Outcome | None = None
    _correcting_s = 0.0

    def load_policy(self, model_id: str, head: str = "rf", token: str = "") -> None:
        """Start the policy process for a model, or for the server at an address; it warms up while the arm waits."""
        if is_remote(model_id):
            self._load_remote(model_id, token)
            return
        folder = self.home.models / model_id
        if not (folder / "model.json").exists():
            raise WorkbenchError(f"there is no model '{model_id}'", "List them with `python main.py models list`")
        if self._policy == (model_id, head) and "policy" in self._children and self._child("policy").alive:
            return
        self._unload_policy()
        chunks = self._new_chunks(chunk_steps(self.home, model_id))
        rings = {name: str(ring.path) for name, ring in self._rings.items()}
        self._start_child(
            "policy",
            "models.policy_worker:main",
            folder=str(folder),
            rings=rings,
            chunks=chunks,
            head=head,
            blend=self.settings.runtime.blend,
            skew_s=self.settings.runtime.skew_s,
        )
        self._policy = (model_id, head)

    def _load_remote(self, url: str, token: str) -> None:
        """Connect to a policy server and learn what it serves; returns when it is warm, or raises WorkbenchError."""
        self._unload_policy()
        rings = {name: str(ring.path) for name, ring in self._rings.items()}
        self._start_child("policy", REMOTE_MAIN, rings=rings, **child_values(self.settings, url, token))
        patience_s = self.settings.policy.connect_s + self.settings.policy.warm_up_s + 20.0
        try:
            served = self._child("policy").call("describe", timeout_s=patience_s)
            self._child("policy").call("give_ring", chunks=self._new_chunks(served["steps"]))
        except WorkbenchError:
            self._unload_policy()
            raise
        self._policy = (served["policy_id"], "remote")

    def _unload_policy(self) -> None:
        old = self._children.pop("policy", None)
        if old is not None:
            self.hold()
            old.stop()
        if self._chunks is not None:
            self._chunks.close()
        self._chunks, self._policy = None, ("", "rf")

    def _new_chunks(self, steps: int) -> str:
        """A ring for chunks of so many actions; returns its path."""
        self._chunks = Ring.create(ring_path(self._folder, f"policy.{new_id()[-6:]}"), chunk_spec(steps))
        return str(self._chunks.path)

    def drive(self, task: str, *, record: bool = True, blind: bool = False) -> None:
        """Let the loaded policy do a task, recorded as a rollout, until success, hold, park or stop.

        ``blind``: nobody is told meanwhile which model drives.
        """
        if self._chunks is None:
            raise StateError("no policy is loaded", "Choose a model first")
        if self._driver_status().state == "driving":
            raise StateError("a policy drives already", "Hold it first")
        instruction = self.settings.instruction(task)
        policy = self._child("policy")
        policy.call("set_task", instruction=instruction, timeout_s=60)
        policy.call("start", timeout_s=60)
        self._ready()
        if record:  # first: where it is refused, the attempt that is still being kept stays as it is
            self.start_take(task, EpisodeKind.ROLLOUT, {"model": self._policy[0], "head": self._policy[1]})
        self._task, self._success, self._over, self._ended = task, None, False, ("", True)
        self._judgement, self._blind = None, blind
        self._attempt = Attempt(Policy(*self._policy), task, instruction, time.monotonic_ns())
        try:
            self._watch_hand()
            self._let_drive(self._chunks)
        except WorkbenchError:
            self._over = True
            if record:  # nobody would end it
                self.discard_take()
            raise
        self._background.run(self._supervise, "station-drive")

    def newest_chunk(self) -> ActionChunk | None:
        """The policy's newest plan while it drives, None when it has none or took it back; never waits."""
        ring = self._chunks
        if ring is None or self._snapshot.driver.state != "driving":
            return None
        frame = ring.latest()
        chunk = unpack_chunk(frame, self._snapshot.driver.model_id) if frame is not None else None
        return chunk if chunk is not None and chunk.step_s > 0 else None

    def policy_stats(self) -> dict[str, Any]:
        """What the policy process says about itself, see ``policy_worker.Worker.stats``."""
        stats: dict[str, Any] = self._child("policy").call("stats", timeout_s=120)
        return stats

    def change_task(self, task: str) -> None:
        """Something else is to be done from now on, in the middle of a drive too; the take notes when.

        Plans made for the old instruction are refused from now on. NotFoundError with the nearest name.
        """
        instruction = self.settings.instruction(task)
        if self._over or self._attempt is None:
            raise StateError("no policy drives", "Choose the task, then start")
        self._child("policy").call("set_task", instruction=instruction, timeout_s=60)
        self._child("arm").call("renew")
        self._attempt.ask(task, instruction, time.monotonic_ns())
        self._task, self._success = task, None

    def judge(self, outcome: Outcome, note: str = "") -> None:
        """A person's word on the attempt in progress: hold, and seal its take with that word."""
        if self._over or self._attempt is None:
            raise StateError("no attempt is in progress", "Label finished takes in the library")
        if note:
            self.note(note)
        self._judgement = outcome
        self.end_drive(f"{outcome}, said a person")
        self._success = outcome is Outcome.SUCCESS  # not before: the watching thread would take it for its own finding

    def note(self, text: str) -> None:
        """Words about this moment, kept with the take in progress."""
        if self._over or self._attempt is None:
            raise StateError("no attempt is in progress", "Write notes on finished takes in the library")
        self._attempt.note(text.strip(), time.monotonic_ns())

    def end_drive(self, reason: str, *, counts: bool = True) -> None:
        """The attempt is over, whatever it has come to: hold, and seal its take with the reason.

        Args:
            counts: False if it says nothing about the policy (somebody interrupted it): its take stays unlabelled.
        """
        self._ended = (reason, counts)
        self._child("arm").call("hold", reason=reason)

    def hold(self) -> None:
        """Stay where it is."""
        self._child("arm").call("hold", reason="the operator asked for it")

    def wait_at_rest(self, timeout_s: float = _REST_S) -> None:
        """Return once the arm itself says that it stands still and follows nobody, and ``status`` says so too.

        StateError if it still moves after ``timeout_s``: hands have no business on the table then.
        """
        end_s = time.monotonic() + timeout_s
        while (arm := self._driver_status()).moving or arm.state in _MOVING or self._snapshot.driver.state in _MOVING:
            if time.monotonic() > end_s:
                raise StateError(f"the arm is {arm.state} and still moves", "Hold it before the table is touched")
            time.sleep(_POLL_S)

    def resume(self) -> None:
        """From ``holding``: drive on, from fresh observations only; a new attempt if the last is over.

        Nothing while a policy drives: who presses twice means once.
        """
        if self._chunks is None:
            raise StateError("no policy is loaded", "Choose a model first")
        if self._driver_status().state == "driving":
            return
        if self._over and self._task:
            self.drive(self._task)
        else:
            self._child("policy").call("start", timeout_s=60)  # one whose server was lost waits for a person's word
            self._let_drive(self._chunks)

    def _let_drive(self, chunks: Ring) -> None:
        """The arm follows the loaded policy as long as the processes that this needs run."""
        needs = {name: self._children[name].pid for name in ("policy", "capture") if name in self._children}
        self._child("arm").call("drive", chunks=str(chunks.path), policy_id=self._policy[0], needs=needs)

    def park(self) -> None:
        """Go home slowly and stay."""
        self._child("arm").call("park")

    def stop(self) -> None:
        """Stop now; leaves only by ``clear_stop``."""
        self._child("arm").call("stop_arm", reason="the operator pressed stop")

    def clear_stop(self, operator: str = "") -> None:
        """A person's word that it is safe again; without a name, the station's operator or this computer's user."""
        self._child("arm").call("clear_stop", operator=operator or self.settings.operator or getpass.getuser())

    def _supervise(self) -> None:
        """During a drive: ask the simulated station for success; seal the take when the drive is over."""
        ending, anomalies = Ending(), self._anomalies()
        looked_s = 0.0
        while not (why := self._drive_is_over(ending)):
            if time.monotonic() - looked_s > _LOOK_S:
                self._look_for_hints(anomalies)
                looked_s = time.monotonic()
            if self._closing.wait(0.1):
                return
        self._over, self._hints = True, ()
        with contextlib.suppress(WorkbenchError):  # a policy that has died is said by the watch; the take is sealed
            self._child("policy").call("pause")
        with contextlib.suppress(WorkbenchError):  # an arm that has ended has let go of its devices
            self._child("arm").call("watch", kind="", options={})
        recorder = self._recorder()
        if recorder.episode_id:
            self._keep_attempt(why, recorder.episode_id, ending.faulted)

    def _count_correction(self, state: str) -> None:
        now_s = time.monotonic()
        if self._attempt is not None and state == "correcting" and self._correcting_s:
            self._attempt.corrected(now_s - self._correcting_s)
        self._correcting_s = now_s if state == "correcting" else 0.0

    def _anomalies(self) -> Anomalies:
        names = tuple(camera.name for camera in self.settings.cameras)
        moving = frozenset(name for name in names if on_arm(self.settings, name))
        return Anomalies(self.home.path, self.latest, names, moving)

    def _look_for_hints(self, anomalies: Anomalies) -> None:
        """Show what looks unusual, and keep with the take when it began to."""
        unusual: dict[str, Any] = {}
        with contextlib.suppress(WorkbenchError):  # a policy that has gone is said elsewhere
            unusual = self._child("policy").call("stats", timeout_s=5).get("unusual", {})
        now_ns = time.monotonic_ns()
        hints = anomalies.look(now_ns, unusual)
        self._hints = tuple(words for _, words in hints)
        if self._attempt is not None:
            self._attempt.hint(hints, now_ns)

    def _keep_attempt(self, why: str, episode_id: str, faulted: bool) -> None:
        """Seal the attempt's take with all that is known about it; score it if it says something about the policy."""
        outcome, attempt = self._outcome(faulted), self._attempt
        extra: dict[str, Any] = {"ended_by": why}
        now_ns = time.monotonic_ns()
        if attempt is not None:
            extra |= attempt.extra()
            if outcome is not Outcome.UNLABELLED:
                success = outcome is Outcome.SUCCESS
                latency_ms = self._snapshot.driver.latency_ms
                extra |= attempt.trial(success, episode_id, attempt.seconds(now_ns), latency_ms, why, self._scene)
        self.stop_take(outcome, extra, attempt.words() if attempt is not None else "")
        if attempt is not None and outcome is not Outcome.UNLABELLED:
            seconds, success = attempt.seconds(now_ns), outcome is Outcome.SUCCESS and attempt.alone()
            self.bus.publish(TrialScored(self._task, success, episode_id, attempt.policy.model_id, seconds))

    def _outcome(self, faulted: bool) -> Outcome:
        """A person's word, else the simulated station's; a fault, or a real station without a word, says nothing."""
        if self._judgement is not None:
            return self._judgement
        if faulted or not (self.settings.simulated or self._success):
            return Outcome.UNLABELLED
        return Outcome.SUCCESS if self._success else Outcome.FAILURE

    def _judged(self, event: TakeJudged) -> None:
        """A button of the device: the word on the attempt in progress, or on the take."""
        if self._over:
            super()._judged(event)
        else:
            self._background.run(lambda: self.judge(Outcome(event.outcome)), "station-judged")

    def _watch_hand(self) -> None:
        """Open the operator's device, so that its dead-man takes the arm over; without it people can hold and stop."""
        teleop = self.settings.teleop
        try:
            self._child("arm").call("watch", kind=teleop.kind, options=teleop.options)
        except WorkbenchError as error:
            self.bus.publish(Failed("arm", f"nobody can take over with the {teleop.kind}: {error}"))

    def _drive_is_over(self, ending: Ending) -> str:
        """Why: success, park, stop, a fault, or that arm or world have died; "" while the drive goes on."""
        reason, counts = self._ended
        if reason:
            ending.faulted = not counts
            return reason
        try:
            if self.settings.simulated and self._simulation().succeeded(self._task):
                self._success = True
                self._child("arm").call("hold", reason=DONE)
            driver = self._child("arm").call("status")
            self._count_correction(driver.state)
            return ending.look(driver, bool(self._success), time.monotonic())
        except WorkbenchError as error:
            ending.faulted = True
            return error.what
