"""The arm process as it is, with one more question that it answers: which modules it has loaded."""

from __future__ import annotations

import sys
from typing import Any

from workbench.core.link import Link
from workbench.services import control


class _Ears:
    """A link that knows the word "modules" besides."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.publish = link.publish

    def serve_pending(self, handlers: dict[str, Any], timeout_s: float = 0.0) -> bool:
        return self._link.serve_pending({**handlers, "modules": lambda: sorted(sys.modules)}, timeout_s)


def main(link: Link, **values: Any) -> None:
    control.main(_Ears(link), **values)  # type: ignore[arg-type]
