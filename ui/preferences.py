"""What one person chose about the window, kept between sessions: a small JSON file per user, not per station.

``$XDG_CONFIG_HOME/clap-workbench/window.json``, else ``~/.config/clap-workbench/window.json``. A broken file is put
aside and everything is as at first; a file that cannot be written is said once in the log and then lived without.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any, TypeVar

from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json, write_json

T = TypeVar("T")
FILE_NAME = "window.json"
_log = logging.getLogger(__name__)


def preferences_file() -> Path:
    """Where this user's choices are kept."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "clap-workbench" / FILE_NAME


class Preferences:
    """Named plain values (JSON). Reading never waits; ``keep`` writes in a thread of its own. Any thread.

    Args:
        path: the file; None asks ``preferences_file``.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or preferences_file()
        self._values = self._read()
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._changed = 0
        self._threads: list[threading.Thread] = []

    def get(self, name: str, default: T) -> T:
        """The kept value, or ``default`` where there is none or one of another type."""
        value = self._values.get(name, default)
        return value if type(value) is type(default) else default  # True is no number

    def keep(self, name: str, value: Any) -> None:
        """Remember a value; None forgets it."""
        with self._lock:
            if self._values.get(name) == value:
                return
            if value is None:
                self._values.pop(name, None)
            else:
                self._values[name] = value
            self._changed += 1
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._write, args=(self._changed,), name="ui-preferences")
            self._threads.append(thread)
        thread.start()

    def flush(self) -> None:
        """Wait until everything kept so far is on disk."""
        for thread in tuple(self._threads):
            thread.join()

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            values = read_json(self.path)
            if isinstance(values, dict):
                return values
            self._put_aside("it is no table of choices")
        except WorkbenchError as error:
            self._put_aside(str(error))
        except OSError as error:
            _log.warning("the window's choices cannot be read: %s", error)
        return {}

    def _put_aside(self, why: str) -> None:
        _log.warning("the window's choices are forgotten, %s: %s", self.path, why)
        with contextlib.suppress(OSError):  # the next choice replaces it anyway
            self.path.replace(self.path.with_suffix(".broken.json"))

    def _write(self, number: int) -> None:
        with self._writing:
            with self._lock:
                if number != self._changed:
                    return  # a later change writes this one too
                values = dict(self._values)
            try:
                write_json(self.path, values)
            except (OSError, ValueError) as error:
                _log.warning("the window's choices cannot be kept: %s", error)
