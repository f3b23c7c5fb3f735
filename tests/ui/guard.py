"""Watches that the window's thread never works for long at a stretch."""

from __future__ import annotations

from ui.stretches import LONGEST_MS, Stretches
from ui.stretches import measured_stretches as gui_thread_guard

__all__ = ["LONGEST_MS", "Stretches", "gui_thread_guard"]
