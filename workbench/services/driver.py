"""Who drives the arm: operator over policy over hold. One tick = read, decide, guard, send, record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Arm, Limits
from hardware.safety import GuardMemory, GuardReason, Verdict, guard
from hardware.teleop import Teleop
from workbench.core.chunks import Blend, mix
from workbench.core.clock import Clock
from workbench.core.errors import DeviceError, StateError, WorkbenchError
from workbench.core.events import DriverChanged, StopCleared
from workbench.core.ring import Ring
from workbench.core.states import DRIVER, DriverState, StateMachine
from workbench.core.types import ActionChunk, ArmCommand, ArmState, Authority, Pose
from workbench.services.driver_home import WayHome
from workbench.services.driver_status import DriverStatus, TickLog, arm_streams, playing
from workbench.services.driver_watch import HEARTBEAT_S, PICTURE_AGE_S, DeadMan, Watch, check_shape
from workbench.services.inference import ChunkPlayer, Playback, pose_target
from workbench.services.moves import finite, moved

__all__ = ["HEARTBEAT_S", "PICTURE_AGE_S", "Driver", "DriverStatus", "arm_streams"]
FIRST_CHUNK_S = 5.0
HANDOVER_S = 0.4


class Driver:
    """The control tick. ``tick`` belongs to one thread; requests may come from another, for the next tick.

    Args:
        arm: connected.
        limits: None keeps it parked.
        rings: by stream name, see ``arm_streams``.
        newest_picture_ns: host time of the oldest of the cameras' newest pictures; it must be fresh while a policy
            drives.
        playback: how a policy's chunks are executed; their reach is that of ``limits``.
    """

    def __init__(
        self,
        arm: Arm,
        limits: Limits | None,
        rings: dict[str, Ring],
        clock: Clock,
        period_s: float,
        publish: Callable[[object], None] = lambda _event: None,
        newest_picture_ns: Callable[[], int] | None = None,
        playback: Playback = Playback(),  # noqa: B008  (frozen)
    ) -> None:
        self._arm, self._limits, self._clock, self._period_s = arm, limits, clock, period_s
        self._publish = publish
        self._watch, self._dead_man = Watch(clock, newest_picture_ns), DeadMan()
        self.beat = self._watch.beat
        self._machine: StateMachine[DriverState] = StateMachine("driver", DRIVER, DriverState.PARKED)
        self._lock = threading.RLock()
        self._at_arm = threading.Lock()  # who talks to the arm: the tick, or who brings it back or lets it rest
        self._kinematics = arm.kinematics()
        self._log = TickLog(rings, self._kinematics)
        self._playback = playback.within(limits)
        self._player = ChunkPlayer(self._playback)
        self._chunks: Callable[[], ActionChunk | None] = lambda: None
        self._teleop: Teleop | None = None
        self._target: NDArray[np.float64] | None = None
        self._memory: GuardMemory | None = None
        self._reason = self._fault = ""
        self._since_ns = 0
        self._reasons: tuple[str, ...] = ()
        self._handed: tuple[int, NDArray[np.float64]] | None = None
        self._latched = self._resting = self._stopped_again = False
        self._way_home = WayHome(arm.home_rad, period_s, limits.effort_max if limits else None)
        check_shape(limits, self._kinematics)

    # requests -------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> DriverState:
        return self._machine.state

    def ready(self) -> None:
        """Leave ``parked``. A station without limits cannot."""
        if self._limits is None:
            raise StateError("this station has no limits, so the arm stays parked", "Write [limits] into station.toml")
        self._to(DriverState.READY, "ready")

    def drive(self, chunks: Callable[[], ActionChunk | None]) -> None:
        """Let a policy drive; ``chunks`` returns its newest chunk and never blocks."""
        with self._lock:
            self._player.reset(self._clock.now_ns())
            self._chunks = chunks
            self._to(DriverState.DRIVING, "the policy drives")

    def renew(self) -> None:
        """The task has changed: plans made for the old one are refused from now on; the one in force runs out."""
        with self._lock:
            self._player.renew(self._clock.now_ns())

    def watch(self, device: Teleop | None) -> None:
        """Let this device take over by its dead-man while a policy drives or the arm holds; None: no device."""
        with self._lock:
            self._dead_man.device = device

    def operate(self, teleop: Teleop) -> None:
        """Let an operator's device drive (also in the middle of a policy's attempt) until ``hold``."""
        with self._lock:
            self._teleop = teleop
            self._target = None
            self._dead_man.asked()
            self._to(DriverState.CORRECTING, "the operator drives")

    def hold(self, reason: str) -> None:
        """Stay where it is. From ``driving``, ``correcting`` and on the way home; elsewhere nothing moves anyway."""
        with self._lock:
            if self.state in (DriverState.DRIVING, DriverState.CORRECTING):
                self._to(DriverState.HOLDING, reason)
            elif self._way_home.going:
                self._end_homing(reason)

    def _end_homing(self, reason: str) -> None:
        self._way_home.end()
        self._reason = f"stopped on the way home: {reason}"
        self._publish(DriverChanged(self.state, self._reason))

    def fail(self, reason: str) -> None:
        """Something that a policy's drive needs has gone: hold. An operator who drives is left alone."""
        with self._lock:
            if self.state is DriverState.DRIVING:
                self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        """Hold for a reason that is no person's wish."""
        moving = self.state in (DriverState.DRIVING, DriverState.CORRECTING)
        self.hold(reason)
        if moving:
            self._fault = reason

    def park(self) -> None:
        """Hold if needed, then go home slowly through the guard and stay; whatever is in the way stops the arm.

        StateError from ``stopped``: that only a person's ``clear_stop`` leaves.
        """
        with self._lock:
            if self.state is DriverState.STOPPED:
                raise StateError("the arm is stopped", "Look at the arm and clear the stop, then park it")
            self.hold("parking")
            if self.state is not DriverState.PARKED:
                self._to(DriverState.PARKED, "parked")
            if self._limits is not None and not (self._way_home.going or self._way_home.arrived):
                self._reason = "parked"
                self._way_home.begin()

    def stop(self, reason: str, *, latched: bool = False, by_person: bool = False) -> None:
        """Stop now; only a person leaves this state, by ``clear_stop``. ``latched``: a restart shall not leave it."""
        with self._lock:
            self._latched = self._latched or latched
            self._stopped_again = self._stopped_again or by_person
            if self.state is not DriverState.STOPPED:
                self._to(DriverState.STOPPED, reason)
                self._fault = "" if by_person else reason

    def clear_stop(self, operator: str = "") -> None:
        """A person's word that the reason of the stop is gone. The arm stays where it is until it is told to move.

        Brings the arm back from a fault of its own first. That may take seconds: never call it in the tick's thread.
        WorkbenchError, and still stopped, if the arm is not stopped, its fault stays, or a person stops it meanwhile.
        """
        with self._lock:
            if self.state is not DriverState.STOPPED:
                raise StateError(f"the arm is {self.state}, not stopped")
            reason, self._stopped_again = self._reason, False
            self._say("bringing the arm back; that may take some seconds")
        try:
            with self._at_arm:
                self._arm.recover()
                self._memory = None  # where the arm stopped by itself is not where it was sent last
        except WorkbenchError as error:
            self._say(f"{reason}; it could not be brought back: {error.what}")
            raise
        with self._lock:
            if self._stopped_again:
                raise StateError("the arm was stopped again meanwhile", "Look at the arm, then clear the stop")
            self._latched = False
            self._to(DriverState.PARKED, f"cleared by {operator or 'a person'}")
        self._publish(StopCleared(operator, reason))

    def rest(self) -> bool:
        """Leave an arm that has come home as its maker wants it left; True once that is done. Not in the tick's thread.

        Raises WorkbenchError if the arm refuses. The next command wakes it.
        """
        with self._at_arm:
            if self.at_home and self.at_rest and not self._resting:
                self._arm.park()
                self._resting, self._memory = True, None  # without power it may sink
        return self._resting

    @property
    def latched(self) -> bool:
        """True while a stop holds that a restart shall not leave."""
        return self._latched

    @property
    def at_rest(self) -> bool:
        """True when the last command that was sent asked for standing still."""
        memory = self._memory
        return memory is None or not np.any(memory.velocities_rad_s)

    @property
    def at_home(self) -> bool:
        """True once a parked arm has arrived: the only place where its motors may be let go."""
        return self.state is DriverState.PARKED and self._way_home.arrived

    def status(self, **more: object) -> DriverStatus:
        """A snapshot; any thread."""
        chunk = self._player.chunk
        age_ms = (self._clock.now_ns() - chunk.t_observed_ns) / 1e6 if chunk else 0.0
        limits = {name: getattr(self._limits, name) for name in Limits.__slots__} if self._limits else {}
        values: dict[str, object] = {
            "state": self.state,
            "reason": self._reason,
            "fault": self._fault,
            "homing": self._way_home.going,
            "at_home": self.at_home,
            "moving": not self.at_rest,
            "authority": self._authority(),
            "model_id": chunk.policy_id if chunk else "",
            "guard_reasons": self._reasons,
            "latency_ms": chunk.latency_ms if chunk else 0.0,
            "latched": self._latched,
            "chunk_age_ms": age_ms,
            "playing": playing(self._player),
            "limits": limits,
            **more,
        }
        return DriverStatus(**values)  # type: ignore[arg-type]

    # the tick -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Read the arm, decide, guard, send, record. Never raises: a fault stops the arm and says why.

        Does nothing while the arm is being brought back from a fault: then it takes no commands.
        """
        if not self._at_arm.acquire(blocking=False):
            return
        try:
            self._tick()
        finally:
            self._at_arm.release()

    def _tick(self) -> None:
        now_ns = self._clock.now_ns()
        try:
            state = self._arm.read()
            with self._lock:
                contact = self._touched(state)
                wanted = self._decide(state, now_ns)
                verdict = self._guarded(state, wanted, now_ns) if not self._resting else None
                if verdict is not None:
                    self._hold_if_blind(verdict)
            if verdict is not None:
                verdict = replace(verdict, reasons=(*verdict.reasons, *contact))
                self._arm.send(verdict.command)
                self._memory = verdict.memory
                self._reasons = verdict.reasons
            elif not self._resting:
                self._arm.hold()
        except DeviceError as error:
            self.stop(f"the arm is not answering: {error}")
            return
        self._log.write(state, wanted, verdict, self._authority(), self._player.played, now_ns)

    def _touched(self, state: ArmState) -> tuple[str, ...]:
        """On the way home: stop where the arm is if it does not get on, so that it no longer pushes."""
        problem = self._way_home.touched(state, self._memory.joints_rad) if self._memory is not None else ""
        if not problem:
            return ()
        self.stop(problem, latched=True)
        self._memory = None
        return (GuardReason.CONTACT.value,)

    def _hold_if_blind(self, verdict: Verdict) -> None:
        """The guard brakes as long as it cannot see the arm; that nobody drives on afterwards is decided here."""
        blind = {GuardReason.STATE_STALE.value, GuardReason.STATE_INVALID.value} & set(verdict.reasons)
        if blind:
            self._give_up(next(iter(blind)))

    def _decide(self, state: ArmState, now_ns: int) -> ArmCommand | None:
        """The joint target that whoever has authority wants, or None for hold."""
        if self._target is None:
            self._target = self._standing(state)
        if self._way_home.going:
            return self._step_home(state, now_ns)
        if self.state in (DriverState.DRIVING, DriverState.HOLDING):
            self._let_a_hand_take_over(state, now_ns)
        if self.state is DriverState.DRIVING:
            return self._policy_wants(state, now_ns)
        if self.state is DriverState.CORRECTING:
            return self._operator_wants(state, now_ns)
        self._target = None
        return None

    def _let_a_hand_take_over(self, state: ArmState, now_ns: int) -> None:
        if self._dead_man.squeezed(state, now_ns, self._period_s):
            self._teleop = self._dead_man.device
            self._target = self._standing(state)
            self._to(DriverState.CORRECTING, "the operator took over")

    def _policy_wants(self, state: ArmState, now_ns: int) -> ArmCommand | None:
        problem = self._watch.nobody(now_ns) or self._watch.old_picture(now_ns)
        chunk = self._chunks()
        if chunk is not None and self._target is not None:
            answer = self._player.accept(chunk, self._target, now_ns)
            problem = problem or (answer.value if answer.holds else "")
        target = self._player.target(now_ns)
        waiting = self._player.chunk is None and now_ns - self._since_ns < FIRST_CHUNK_S * 1e9
        if self._playback.blend is Blend.SYNCHRONOUS and self._player.chunk is not None:
            waiting = self._player.stood_s(now_ns) < FIRST_CHUNK_S
        if target is None and not waiting and not problem:
            problem = "the policy's last plan has run out"
        if problem:
            self._give_up(problem)
            return None
        return self._joint_command(self._eased(target, now_ns), state, now_ns) if target is not None else None

    def _eased(self, target: NDArray[np.float64], now_ns: int) -> NDArray[np.float64]:
        """A hand-over begins where the arm stands and joins the plan softly, within ``HANDOVER_S``."""
        if self._handed is None:
            self._handed = now_ns, target if self._target is None else self._target
        begun_ns, origin = self._handed
        at = min(1.0, (now_ns - begun_ns) / (HANDOVER_S * 1e9))
        return target if at >= 1.0 else mix(origin, target, at * at * (3.0 - 2.0 * at))

    def _operator_wants(self, state: ArmState, now_ns: int) -> ArmCommand | None:
        """The operator's wish, or None when the hand lets go: the guard brakes, and nothing is caught up later."""
        problem = self._watch.nobody(now_ns)
        if problem:
            self._give_up(problem)
            return None
        action = self._teleop.read(state, now_ns, self._period_s) if self._teleop else None
        held = action is not None and action.engaged and finite(action)
        if self._dead_man.let_go(held, now_ns):
            self._to(DriverState.HOLDING, "the operator let go; the policy goes on when you say so")
        if self._target is None or action is None or not held:
            self._target = None
            return None
        if action.joints_rad is not None:
            self._target = None  # the next move starts from where the joints have led
            return ArmCommand(action.joints_rad, float(action.gripper), now_ns + int(3e9 * self._period_s))
        return self._joint_command(moved(self._target, action, self._limits), state, now_ns)

    def _joint_command(self, target: NDArray[np.float64], state: ArmState, now_ns: int) -> ArmCommand:
        self._target = target
        seed = self._memory.joints_rad if self._memory is not None else state.joints_rad
        joints = self._kinematics.solve(seed, target[:3], target[3:7])
        return ArmCommand(joints, float(target[7]), now_ns + int(3e9 * self._period_s))

    def _standing(self, state: ArmState) -> NDArray[np.float64]:
        """Where a motion starts: the last allowed command, so that an arm that sags a little does not creep."""
        if self._memory is None:
            return pose_target(state.pose, state.gripper)
        position_m, quaternion = self._kinematics.pose(self._memory.joints_rad)
        return pose_target(Pose(position_m, quaternion), self._memory.gripper)

    def _step_home(self, state: ArmState, now_ns: int) -> ArmCommand:
        seed = self._memory.joints_rad if self._memory is not None else state.joints_rad
        self._target = None
        return ArmCommand(self._way_home.next_rad(seed, state), 1.0, now_ns + int(3e9 * self._period_s))

    def _guarded(self, state: ArmState, wanted: ArmCommand | None, now_ns: int) -> Verdict | None:
        """Every command passes the guard; without limits nothing is sent."""
        if self._limits is None:
            return None
        return guard(state, wanted, self._memory, self._limits, self._kinematics, now_ns, self._period_s)

    def _authority(self) -> Authority:
        if self.state is DriverState.DRIVING:
            return Authority.POLICY
        return Authority.OPERATOR if self.state is DriverState.CORRECTING else Authority.NOBODY

    def _say(self, reason: str) -> None:
        """Why it is in the state it is in has changed."""
        self._reason = reason
        self._publish(DriverChanged(self.state, reason))

    def _to(self, state: DriverState, reason: str) -> None:
        with self._lock:
            self._machine.to(state)
            self._reason, self._fault, self._since_ns = reason, "", self._clock.now_ns()
            self._player.reset(self._since_ns)
            self._way_home.end()
            self._resting, self._handed = False, None
            if state is not DriverState.CORRECTING:
                self._teleop = None
        self._publish(DriverChanged(state, reason))
