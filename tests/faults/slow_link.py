"""A process between the simulated world and the arm process: both directions take a while."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from hardware.sim.remote import ARM_COMMAND, ARM_STATE, CAMERAS_FILE, ring_path
from workbench.core.files import write_json
from workbench.core.link import Link
from workbench.core.ring import Ring


def main(link: Link, world: str, far: str) -> None:
    """Carry states to ``far`` and commands back, ``delay`` seconds late, stamps untouched."""
    there, here = Path(world), Path(far)
    here.mkdir(mode=0o700)
    lanes = [
        (Ring.attach(ring_path(there, ARM_STATE.name)), Ring.create(ring_path(here, ARM_STATE.name), ARM_STATE)),
        (Ring.create(ring_path(here, ARM_COMMAND.name), ARM_COMMAND), Ring.attach(ring_path(there, ARM_COMMAND.name))),
    ]
    write_json(here / CAMERAS_FILE, [])
    settings, waiting = {"delay_s": 0.0}, [deque(), deque()]
    done = [lane[0].written for lane in lanes]

    def delay(seconds: float) -> int:
        settings["delay_s"] = seconds
        return time.monotonic_ns()

    try:
        while link.serve_pending({"delay": delay}, timeout_s=0.001):
            for number, (source_ring, target_ring) in enumerate(lanes):
                while done[number] < source_ring.written:
                    frame = source_ring.read(done[number])
                    done[number] += 1
                    if frame is not None:
                        waiting[number].append((time.monotonic() + settings["delay_s"], frame))
                while waiting[number] and waiting[number][0][0] <= time.monotonic():
                    frame = waiting[number].popleft()[1]
                    target_ring.write(frame.data, sequence=frame.sequence, t_device_ns=frame.t_device_ns,
                                      t_host_ns=frame.t_host_ns)  # fmt: skip
    finally:
        for lane in lanes:
            for ring in lane:
                ring.close()
        (here / CAMERAS_FILE).unlink(missing_ok=True)
