"""Watches that the window's thread never works for long at a stretch."""

from __future__ import annotations

import os

from ui.stretches import LONGEST_MS, Stretches
from ui.stretches import measured_stretches as gui_thread_guard

__all__ = ["LONGEST_MS", "Stretches", "allowed_ms", "gui_thread_guard"]
_CROWDED = 1.5  # programs that want each core


def allowed_ms() -> float:
    """The longest stretch that passes now: programs that share core and caches double the time of the same work."""
    crowded = os.getloadavg()[0] > _CROWDED * (os.cpu_count() or 1)
    return LONGEST_MS * (2 if crowded else 1)
