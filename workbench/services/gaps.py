"""Missing exposures, counted per stream: by the device's running numbers, by time where those began anew."""

from __future__ import annotations


class GapCounter:
    """Follows one stream of one camera. Used by the camera's own thread.

    Args:
        rate_hz: the stream's nominal rate.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._last: tuple[int, int] | None = None
        self._restarted = False

    def restarted(self) -> None:
        """The device was opened anew: its numbers may have begun again, even if the next one happens to be higher."""
        self._restarted = True

    def gap_before(self, sequence: int, t_host_ns: int) -> int:
        """How many items are missing directly before this one.

        A jump of the number says it exactly. After a restart, or when the number falls, the time that passed on the
        host's clock and the nominal rate say it as well as can be known.
        """
        last, anew = self._last, self._restarted
        self._last, self._restarted = (sequence, t_host_ns), False
        if last is None:
            return 0
        if not anew and sequence > last[0]:
            return sequence - last[0] - 1
        return max(0, round((t_host_ns - last[1]) * self._rate_hz / 1e9) - 1)
