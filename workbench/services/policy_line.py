"""The connection to a policy server: kept up in its own thread, asked from another. Tells at once when it breaks."""

from __future__ import annotations

import contextlib
import importlib
import logging
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from models.exchange.codec import WireLimits, pack, unpack
from workbench.core.errors import WorkbenchError

_log = logging.getLogger(__name__)
_OPEN_S, _HELLO_S, _CLOSE_S = 5.0, 10.0, 0.5
_SEND_S = 1.0  # a server that stands still must not keep a request from failing
BACKOFF_S = (0.2, 5.0)  # first and longest pause between two attempts; doubled in between


class Line:
    """A connection that comes back by itself. Nothing is asked again: what was lost is lost.

    There are no pings: openpi's servers do not answer them while their policy thinks. A server that dies or closes is
    noticed at once; one that falls silent, by an answer that does not come.

    Args:
        url: ``ws://`` or ``wss://``.
        certificate: file with the certificate a ``wss`` server must show; "" = any that this computer trusts.
        lost: called once per lost connection, in the line's thread, with the reason in words; must not wait.
    """

    def __init__(self, url: str, token: str, certificate: str, lost: Callable[[str], None]) -> None:
        self.url = checked_url(url)
        self._token, self._certificate, self._lost = token, certificate, lost
        self._limits = WireLimits(bytes=4 * 2**20)
        self._changed = threading.Condition()
        self._connection: Any = None
        self._answer: bytes | str | None = None
        self._asked = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.metadata: dict[str, Any] = {}
        self.connections = 0
        self.problem = "it was not tried yet"

    @property
    def connected(self) -> bool:
        """True while the server can be asked."""
        return self._connection is not None

    def open(self, timeout_s: float) -> dict[str, Any]:
        """Begin to connect if that was not done, wait until it has worked; returns what the server says it serves.

        Raises WorkbenchError if there is no connection in time; it is tried on.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="policy-line", daemon=True)
            self._thread.start()
        with self._changed:
            if not self._changed.wait_for(lambda: self.connected, timeout_s):
                raise self._unreachable()
            return self.metadata

    def ask(self, message: dict[str, Any], timeout_s: float) -> Any:
        """The answer to one request. One caller at a time.

        Raises WorkbenchError if the server is gone, silent, says that something is wrong or sends what is no message.
        """
        data = pack(message)
        with self._changed:
            connection = self._connection
            if connection is None:
                raise self._unreachable()
            self._answer, self._asked = None, True
        try:
            with contextlib.suppress(Exception):  # a line that breaks is told below, whatever the library calls it
                connection.send(data)
            with self._changed:
                came = self._changed.wait_for(
                    lambda: self._answer is not None or self._connection is not connection, timeout_s
                )
                answer = self._answer
        finally:
            self._asked = False
        if not came:
            self._break(connection, f"no answer in {timeout_s:g} s")
        if answer is None:
            raise self._unreachable()
        if isinstance(answer, str):
            raise WorkbenchError(f"the policy server {self.url} says: {last_words(answer)}", "See docs/remote.md")
        return unpack(answer, self._limits)

    def close(self) -> None:
        """End the connection and its thread."""
        self._closing.set()
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()
        if self._thread is not None:
            self._thread.join(_OPEN_S + _CLOSE_S)

    def _unreachable(self) -> WorkbenchError:
        return WorkbenchError(f"the policy server {self.url} cannot be reached ({self.problem})", self._advice())

    def _advice(self) -> str:
        if "401" in self.problem or "403" in self.problem:
            return "Give its token: --token, WORKBENCH_POLICY_TOKEN or [policy] token"
        return "Start it, or correct the address"

    def _break(self, connection: Any, why: str) -> None:
        """A server that does not answer in time is as good as gone: its late answer must not be taken for another."""
        self._gone(connection, why)
        with contextlib.suppress(Exception):
            connection.socket.shutdown(socket.SHUT_RDWR)

    # the line's thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = BACKOFF_S[0]
        while not self._closing.is_set():
            before = self.connections
            try:
                with self._dialled() as connection:
                    self._greet(connection)
                    self._listen(connection)
            except Exception as error:
                if self.connections == before:
                    self.problem = str(error) or type(error).__name__
            pause_s = BACKOFF_S[0] if self.connections > before else min(2 * pause_s, BACKOFF_S[1])
            self._closing.wait(pause_s)

    def _dialled(self) -> Any:
        return importlib.import_module("websockets.sync.client").connect(
            self.url,
            ssl=self._context(),
            additional_headers={"Authorization": f"Api-Key {self._token}"} if self._token else None,
            compression=None,
            max_size=self._limits.bytes,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            ping_interval=None,
            proxy=None,
            logger=_quiet(),
        )

    def _greet(self, connection: Any) -> None:
        """Hear what the server serves; from now on it can be asked."""
        limit = struct.pack("ll", int(_SEND_S), int(1e6 * (_SEND_S % 1)))
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        metadata = unpack(connection.recv(timeout=_HELLO_S), self._limits)
        if not isinstance(metadata, dict):
            raise WorkbenchError("it did not say what it serves")
        with self._changed:
            self.metadata, self.problem = metadata, ""
            self._connection, self._answer = connection, None
            self.connections += 1
            self._changed.notify_all()

    def _context(self) -> ssl.SSLContext | None:
        if not self.url.startswith("wss"):
            return None
        return ssl.create_default_context(cafile=self._certificate or None)

    def _listen(self, connection: Any) -> None:
        why = "it has closed the connection"
        try:
            while True:
                data = connection.recv()
                with self._changed:
                    if self._asked and self._answer is None:
                        self._answer = data
                        self._changed.notify_all()
        except Exception as error:
            why = str(error) or why
        self._gone(connection, why)

    def _gone(self, connection: Any, why: str) -> None:
        with self._changed:
            if self._connection is not connection:
                return
            self._connection, self.problem = None, why
            self._changed.notify_all()
        if not self._closing.is_set():
            self._lost(why)


def checked_url(url: str) -> str:
    """The address of a policy server, or WorkbenchError."""
    parts = urlsplit(url)
    try:
        sound = parts.scheme in ("ws", "wss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or parts.username or parts.password:
        raise WorkbenchError(f"'{url}' is no address of a policy server", "For example: ws://127.0.0.1:8000")
    return url


def last_words(text: str) -> str:
    """What matters of a failure told as text: the last line of a traceback, shortened."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return (lines[-1] if lines else "something is wrong")[:300]


def _quiet() -> logging.Logger:
    """A server that is not there yet is no error of the program; it is said once, in words."""
    logger = logging.getLogger(f"{__name__}.websocket")
    logger.setLevel(logging.CRITICAL)
    return logger
