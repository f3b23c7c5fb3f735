"""Paths into messages: keys and positions in lists, joined by ``>``, such as ``examples>0>lang``."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.core.errors import WorkbenchError


def put(message: dict[str, Any], path: str, value: object) -> None:
    """Write a value at a path, making maps and lists on the way; list positions must come in order."""
    here: Any = message
    parts = path.split(">")
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        new: Any = value if following == "" else [] if following.isdigit() else {}
        if isinstance(here, list):
            index = int(part)
            if index == len(here):
                here.append(new)
            here = here[index]
        else:
            here = here.setdefault(part, new)


def take(message: Any, path: str) -> Any:
    """The value at a path of a message; a number also picks a row of an array. WorkbenchError if it is not there."""
    here = message
    for part in path.split(">"):
        try:
            here = here[int(part)] if isinstance(here, list | np.ndarray) else here[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise WorkbenchError(f"there is no '{path}' in what the other side sent", said(message)) from None
    return here


def said(message: Any) -> str:
    """What the other side says is wrong, or what it sent instead, in few words."""
    if not isinstance(message, dict):
        return f"It sent a {type(message).__name__}"
    error = message.get("error")
    error = error.get("message") if isinstance(error, dict) else error
    return f"It says: {str(error)[:200]}" if error else "It sent: " + ", ".join(list(map(str, message))[:12])
