"""Values of recipes' fields as they come from a command line or a file. Free of torch."""

from __future__ import annotations

from typing import Any

from workbench.core.errors import WorkbenchError


def plain(value: Any) -> Any:
    """As JSON writes it."""
    return list(value) if isinstance(value, tuple) else value


def fitted_to(name: str, value: Any, like: Any) -> Any:
    """``value`` as the type of the field it goes into, or WorkbenchError."""
    try:
        if isinstance(like, bool):
            return _truth(value)
        if isinstance(like, tuple):
            return tuple(str(part) for part in (value.split(",") if isinstance(value, str) else value))
        if isinstance(like, int) and float(value) != int(float(value)):
            raise ValueError("not a whole number")
        return type(like)(float(value)) if isinstance(like, int | float) else type(like)(value)
    except (TypeError, ValueError) as error:
        raise WorkbenchError(f"'{value}' does not fit the recipe's setting '{name}' ({error})") from None


def _truth(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in words:
        raise ValueError("neither true nor false")
    return words[str(value).lower()]
