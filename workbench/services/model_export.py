"""Writing a model into a folder of its own, in a process that may load torch; watched and cancelled from here."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.registry import read_record
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.events import ModelExportProgressed
from workbench.services.hosting import Child, Host
from workbench.services.model_card import model_card

EXPORT_MAIN = "models.export_worker:main"
_LONGEST_S = 3600.0
_LEAVE_S = 3.0
Progress = Callable[[str, int, int], None]


class ModelExport:
    """One export. ``run`` blocks; ``cancel`` may be called from any other thread.

    Args:
        dest: a folder that does not exist yet or is empty.
        onnx: also write the network for other programs, compared with the original.
        threads: work in this process (tests).
    """

    def __init__(self, home: Path, model_id: str, dest: Path, *, onnx: bool = False, threads: bool = False) -> None:
        self._home, self._model_id, self._onnx, self._threads = home, model_id, onnx, threads
        self._dest = Path(dest).expanduser().absolute()
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._cancelled = False

    def run(self, progress: Progress = lambda *_: None) -> dict[str, Any]:
        """Write and verify; returns what ``models.export.export_model`` tells. WorkbenchError says why it cannot be.

        ``progress`` hears of every step from another thread.
        """
        read_record(Home.open(self._home), self._model_id)
        progress("Writing the card", 0, 1)
        card = model_card(self._home, self._model_id)
        with Host(threads=self._threads) as host:
            listening = host.bus.subscribe(ModelExportProgressed, lambda e: progress(e.what, e.done, e.total))
            try:
                result: dict[str, Any] = self._start(host, card).call("export", timeout_s=_LONGEST_S)
            except WorkbenchError:
                if not self._cancelled:
                    raise
                raise _cancelled() from None
            finally:
                listening.close()
        return result

    def cancel(self) -> None:
        """End it; nothing is left behind. Safe before, during and after."""
        with self._lock:
            self._cancelled, child = True, self._child
        if child is not None:
            child.stop(_LEAVE_S)
            partial = self._dest.parent / f".{self._dest.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)  # of a process that had to be ended

    def _start(self, host: Host, card: str) -> Child:
        with self._lock:
            if self._cancelled:
                raise _cancelled()
            values = {"home": str(self._home), "model_id": self._model_id, "dest": str(self._dest)}
            self._child = host.start("model export", EXPORT_MAIN, **values, card=card, onnx=self._onnx)
            return self._child


def default_folder(home: Path, model_id: str) -> Path:
    """Where a model goes if nobody says otherwise: below ``exports/``, numbered if there is one already."""
    root = Home.open(home)
    stage = read_record(root, model_id).stage
    names = [f"{stage}-{model_id[:12]}", *(f"{stage}-{model_id[:12]}-{number}" for number in range(2, 1000))]
    return next(root.exports / name for name in names if not (root.exports / name).exists())


def _cancelled() -> WorkbenchError:
    return WorkbenchError("the export was cancelled", "Nothing was left behind")
