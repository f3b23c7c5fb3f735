"""A child process's (or thread's) end of the pipe to whoever started it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from workbench.core.errors import WorkbenchError

Handler = Callable[..., Any]
_log = logging.getLogger(__name__)


class Link:
    """A child's end of the pipe. Used from the child's main thread; ``publish`` from any."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._send_lock = threading.Lock()
        self.closed = False
        self.lost = False  # closed because the parent has gone, not because it said stop

    def publish(self, event: object) -> None:
        """Send an event to the parent's bus; silently ends when the parent is gone."""
        self._send(("event", 0, event))

    def serve_pending(self, handlers: Mapping[str, Handler], timeout_s: float = 0.0) -> bool:
        """Answer waiting requests, waiting up to ``timeout_s`` for the first.

        Returns False once the parent says stop or is gone.
        """
        try:
            while not self.closed and self._connection.poll(timeout_s):
                timeout_s = 0.0
                verb, request, arguments = self._connection.recv()
                if verb == "stop":
                    self.closed = True
                else:
                    self._answer(handlers, verb, request, arguments)
        except (EOFError, OSError):
            self.closed = self.lost = True
        return not self.closed

    def _answer(self, handlers: Mapping[str, Handler], verb: str, request: int, arguments: dict[str, Any]) -> None:
        try:
            self._send(("answer", request, handlers[verb](**arguments)))
        except WorkbenchError as error:
            self._send(("error", request, (error.what, error.next_step)))
        except Exception as error:
            _log.exception("request '%s' failed", verb)
            self._send(("error", request, (f"{verb} failed: {type(error).__name__}: {error}", "See the log")))

    def _send(self, message: object) -> None:
        try:
            with self._send_lock:
                self._connection.send(message)
        except (BrokenPipeError, OSError):
            self.closed = self.lost = True
