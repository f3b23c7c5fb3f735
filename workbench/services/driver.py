"""Who drives the arm: operator over policy over hold. One tick = read, decide, guard, send, record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Arm, Limits
from hardware.braking import knows_body
from hardware.contact import ContactWatch
from hardware.safety import GuardMemory, GuardReason, Verdict, guard, needs_body
from hardware.teleop import Teleop
from workbench.core.chunks import PLAYED, Blend
from workbench.core.clock import Clock
from workbench.core.errors import DeviceError, StateError, WorkbenchError
from workbench.core.events import DriverChanged, StopCleared
from workbench.core.ring import Ring
from workbench.core.states import DRIVER, DriverState, StateMachine
from workbench.core.types import (
    ActionChunk,
    ArmCommand,
    ArmState,
    Authority,
    Pose,
    arm_vector,
)
from workbench.services.driver_status import DriverStatus, arm_streams
from workbench.services.inference import ChunkPlayer, Playback, pose_target
from workbench.services.moves import finite, turned

__all__ = ["Driver", "DriverStatus", "arm_streams"]
PARK_SPEED_RAD_S = 0.6
CONTACT_RAD, CONTACT_TICKS, ARM_LAG_S = 0.04, 8, 0.2  # on the way home; see ContactWatch
HOME_RAD = 0.02
FIRST_CHUNK_S = 5.0
PICTURE_AGE_S = 0.5
HEARTBEAT_S = 2.0


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
        self._arm, self._limits, self._rings, self._clock, self._period_s = arm, limits, rings, clock, period_s
        self._publish = publish
        self._newest_picture_ns = newest_picture_ns
        self._machine: StateMachine[DriverState] = StateMachine("driver", DRIVER, DriverState.PARKED)
        self._lock = threading.RLock()
        self._kinematics = arm.kinematics()
        self._playback = playback.within(limits)
        self._player = ChunkPlayer(self._playback)
        self._chunks: Callable[[], ActionChunk | None] = lambda: None
        self._teleop: Teleop | None = None
        self._target: NDArray[np.float64] | None = None
        self._memory: GuardMemory | None = None
        self._reason = self._fault = ""
        self._since_ns = 0
        self._reasons: tuple[str, ...] = ()
        self._beat_ns: int | None = None
        self._sequence = 0
        self._homing = self._arrived = self._latched = False
        effort_max = limits.effort_max if limits else None
        self._contact = ContactWatch(CONTACT_RAD, CONTACT_TICKS, ARM_LAG_S, period_s, effort_max)
        if limits is not None and needs_body(limits) and not knows_body(type(self._kinematics)):
            raise WorkbenchError(
                "the limits name things to keep clear of, but the shape of this arm is not known",
                "Take obstacles and self_clearance_m out of [limits]; keep clear with the workspace box",
            )

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

    def operate(self, teleop: Teleop) -> None:
        """Let an operator's device drive (also in the middle of a policy's attempt)."""
        with self._lock:
            self._teleop = teleop
            self._target = None
            self._to(DriverState.CORRECTING, "the operator drives")

    def hold(self, reason: str) -> None:
        """Stay where it is. From ``driving``, ``correcting`` and on the way home; elsewhere nothing moves anyway."""
        with self._lock:
            if self.state in (DriverState.DRIVING, DriverState.CORRECTING):
                self._to(DriverState.HOLDING, reason)
            elif self._homing:
                self._end_homing(reason)

    def _end_homing(self, reason: str) -> None:
        self._homing, self._reason = False, f"stopped on the way home: {reason}"
        self._publish(DriverChanged(self.state, self._reason))

    def fail(self, reason: str) -> None:
        """Something that a policy's drive needs has gone: hold. An operator who drives is left alone."""
        with self._lock:
            if self.state is DriverState.DRIVING:
                self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        """Hold for a reason that is no person's wish."""
        self.hold(reason)
        self._fault = reason if self.state is DriverState.HOLDING else ""

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
            if self._limits is not None and not (self._homing or self._arrived):
                self._homing, self._reason = True, "parked"
                self._contact.begin()

    def stop(self, reason: str, *, latched: bool = False, by_person: bool = False) -> None:
        """Stop now; only a person leaves this state, by ``clear_stop``. ``latched``: a restart shall not leave it."""
        with self._lock:
            self._latched = self._latched or latched
            if self.state is not DriverState.STOPPED:
                self._to(DriverState.STOPPED, reason)
                self._fault = "" if by_person else reason

    def clear_stop(self, operator: str = "") -> None:
        """A person's word that the reason of the stop is gone. The arm stays where it is until it is told to move."""
        with self._lock:
            reason, self._latched = self._reason, False
            self._to(DriverState.PARKED, f"cleared by {operator or 'a person'}")
        self._publish(StopCleared(operator, reason))

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
        return self.state is DriverState.PARKED and self._arrived

    def beat(self) -> None:
        """The supervising program is alive. Once called, a silence of ``HEARTBEAT_S`` means hold."""
        self._beat_ns = self._clock.now_ns()

    def status(self, **more: object) -> DriverStatus:
        """A snapshot; any thread."""
        chunk = self._player.chunk
        age_ms = (self._clock.now_ns() - chunk.t_observed_ns) / 1e6 if chunk else 0.0
        limits = {name: getattr(self._limits, name) for name in Limits.__slots__} if self._limits else {}
        values: dict[str, object] = {
            "state": self.state,
            "reason": self._reason,
            "fault": self._fault,
            "homing": self._homing,
            "at_home": self.at_home,
            "authority": self._authority(),
            "model_id": chunk.policy_id if chunk else "",
            "guard_reasons": self._reasons,
            "latency_ms": chunk.latency_ms if chunk else 0.0,
            "latched": self._latched,
            "chunk_age_ms": age_ms,
            "playing": {
                **asdict(self._player.played),
                "stalls": self._player.stalls,
                "answers": {answer.name.lower(): n for answer, n in self._player.answers.items()},
            },
            "limits": limits,
            **more,
        }
        return DriverStatus(**values)  # type: ignore[arg-type]

    # the tick -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Read the arm, decide, guard, send, record. Never raises: a fault stops the arm and says why."""
        now_ns = self._clock.now_ns()
        try:
            state = self._arm.read()
            with self._lock:
                contact = self._touched(state)
                wanted = self._decide(state, now_ns)
                verdict = self._guarded(state, wanted, now_ns)
                if verdict is not None:
                    self._hold_if_blind(verdict)
            if verdict is not None:
                verdict = replace(verdict, reasons=(*verdict.reasons, *contact))
                self._arm.send(verdict.command)
                self._memory = verdict.memory
                self._reasons = verdict.reasons
            else:
                self._arm.hold()
        except DeviceError as error:
            self.stop(f"the arm is not answering: {error}")
            return
        self._record(state, wanted, verdict, now_ns)

    def _touched(self, state: ArmState) -> tuple[str, ...]:
        """On the way home: stop where the arm is if it does not get on, so that it no longer pushes."""
        if not self._homing or self._memory is None:
            return ()
        problem = self._contact.look(state, self._memory.joints_rad)
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
        if self._homing:
            return self._step_home(state, now_ns)
        if self.state is DriverState.DRIVING:
            return self._policy_wants(state, now_ns)
        if self.state is DriverState.CORRECTING:
            return self._operator_wants(state, now_ns)
        self._target = None
        return None

    def _policy_wants(self, state: ArmState, now_ns: int) -> ArmCommand | None:
        problem = self._nobody_watches(now_ns) or self._old_picture(now_ns)
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
        return self._joint_command(target, state, now_ns) if target is not None else None

    def _operator_wants(self, state: ArmState, now_ns: int) -> ArmCommand | None:
        """The operator's wish, or None when the hand lets go: the guard brakes, and nothing is caught up later."""
        problem = self._nobody_watches(now_ns)
        if problem:
            self._give_up(problem)
            return None
        action = self._teleop.read(state, now_ns, self._period_s) if self._teleop else None
        if self._target is None or action is None or not (action.engaged and finite(action)):
            self._target = None
            return None
        if action.joints_rad is not None:
            self._target = None  # the next move starts from where the joints have led
            return ArmCommand(action.joints_rad, float(action.gripper), now_ns + int(3e9 * self._period_s))
        target = self._target.copy()
        target[:3] += action.linear_m
        target[3:7] = turned(target[3:7], action.angular_rad)
        target[7] = action.gripper
        if self._limits is not None:
            target[:3] = np.clip(target[:3], self._limits.workspace_min_m, self._limits.workspace_max_m)
        self._target = target
        return self._joint_command(target, state, now_ns)

    def _nobody_watches(self, now_ns: int) -> str:
        silent = self._beat_ns is not None and now_ns - self._beat_ns > HEARTBEAT_S * 1e9
        return "the supervising window does not answer" if silent else ""

    def _old_picture(self, now_ns: int) -> str:
        newest_ns = self._newest_picture_ns
        return "a camera's picture is too old" if newest_ns and now_ns - newest_ns() > PICTURE_AGE_S * 1e9 else ""

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
        home, step = self._arm.home_rad, PARK_SPEED_RAD_S * self._period_s
        self._target = None
        if max(float(np.abs(home - seed).max()), float(np.abs(home - state.joints_rad).max())) < HOME_RAD:
            self._homing, self._arrived = bool(np.abs(home - seed).max() > 1e-6), True
        return ArmCommand(seed + np.clip(home - seed, -step, step), 1.0, now_ns + int(3e9 * self._period_s))

    def _guarded(self, state: ArmState, wanted: ArmCommand | None, now_ns: int) -> Verdict | None:
        """Every command passes the guard; without limits nothing is sent."""
        if self._limits is None:
            return None
        return guard(state, wanted, self._memory, self._limits, self._kinematics, now_ns, self._period_s)

    # records --------------------------------------------------------------------------------------------------------

    def _record(self, state: ArmState, wanted: ArmCommand | None, verdict: Verdict | None, now_ns: int) -> None:
        measured = state.vector()
        allowed = self._vector(verdict.command) if verdict else measured
        wanted_vector = self._vector(wanted) if wanted else np.full_like(measured, np.nan)
        bits = verdict.bits if verdict else 0
        items = {
            "observation.state": measured,
            "action.wanted": wanted_vector,
            "action.allowed": allowed,
            "action": allowed,
            "authority": np.array([self._authority().code], np.float32),
            "guard": np.array([bits], np.float32),
            PLAYED: self._player.played.vector(),
        }
        for name, item in items.items():
            self._rings[name].write(item, sequence=self._sequence, t_device_ns=state.t_device_ns, t_host_ns=now_ns)
        self._sequence += 1

    def _vector(self, command: ArmCommand) -> NDArray[np.float32]:
        position_m, quaternion = self._kinematics.pose(command.joints_rad)
        return arm_vector(command.joints_rad, command.gripper, Pose(position_m, quaternion))

    def _authority(self) -> Authority:
        if self.state is DriverState.DRIVING:
            return Authority.POLICY
        return Authority.OPERATOR if self.state is DriverState.CORRECTING else Authority.NOBODY

    def _to(self, state: DriverState, reason: str) -> None:
        with self._lock:
            self._machine.to(state)
            self._reason, self._fault, self._since_ns = reason, "", self._clock.now_ns()
            self._player.reset(self._since_ns)
            self._homing = self._arrived = False
            if state is not DriverState.CORRECTING:
                self._teleop = None
        self._publish(DriverChanged(state, reason))
