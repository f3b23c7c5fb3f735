"""When an attempt of a policy is over, and why: success, a person's word, or a fault that nobody takes care of."""

from __future__ import annotations

from workbench.services.driver import DriverStatus

FAULT_S = 2.0
DONE = "the task is done"


class Ending:
    """Watches one attempt. One thread.

    A person who holds the arm may let it go on in the same take. A hold by a watchdog ends the attempt once nobody has
    taken over or resumed within ``FAULT_S``: correcting the arm at once is worth keeping, an arm left alone is not.
    """

    def __init__(self) -> None:
        self._fault = ""
        self._since_s = 0.0
        self.faulted = False

    def look(self, driver: DriverStatus, success: bool, now_s: float) -> str:
        """Why the attempt is over, "" while it goes on. ``faulted`` then tells faults from a person's word.

        Args:
            driver: the driver now.
            success: the success predicate has said yes.
            now_s: any clock that runs on.
        """
        if success:
            return DONE
        if driver.state in ("parked", "stopped"):
            self.faulted = bool(driver.fault)
            return driver.reason or driver.state
        if driver.fault != self._fault:
            self._fault, self._since_s = driver.fault, now_s
        if not driver.fault or now_s - self._since_s < FAULT_S:
            return ""
        self.faulted = True
        return driver.fault
