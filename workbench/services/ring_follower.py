"""Reading a ring from one item to the next; what was overwritten before it was read becomes a gap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from workbench.core.ring import Ring
from workbench.core.types import Frame


class RingFollower:
    """Begins with what is written after it was made. One thread.

    Attributes:
        next: index of the item that is read next.
    """

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.next = ring.written

    @property
    def caught_up(self) -> bool:
        """True when everything written so far has been read."""
        return self.next >= self.ring.written

    def new(self) -> Iterator[Frame]:
        """Every item that was there when this was called; ``gap_before`` counts items that came too late to be read."""
        ring, missed, end = self.ring, 0, self.ring.written
        while self.next < end:
            frame = ring.read(self.next)
            if frame is None:
                skipped = max(1, ring.written - ring.slots + 2 - self.next)
                missed += skipped
                self.next += skipped
                continue
            if missed:
                frame, missed = replace(frame, gap_before=frame.gap_before + missed), 0
            yield frame
            self.next += 1
