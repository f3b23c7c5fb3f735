"""Serves the page and listens to one hand over a websocket. One thread with its own event loop; TLS only."""

from __future__ import annotations

import asyncio
import hmac
import importlib
import ipaddress
import json
import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hardware.headset.certificate import lan_address
from hardware.headset.messages import MOST_BYTES, STALE_S, HandMessage, Lateness, parse
from hardware.mailbox import Mailbox
from workbench.core.errors import DeviceError
from workbench.core.rate import RateLimit

_log = logging.getLogger(__name__)
PROTOCOL = "clap-workbench-hand"
MESSAGES_PER_S, BURST = 150.0, 60.0
BUSY, TOO_MANY, NONSENSE = 4409, 1008, 1007
_ANSWER_S = 0.05
_START_S = 10.0
_PAGE = Path(__file__).with_name("page")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/hand.js": ("hand.js", "text/javascript; charset=utf-8"),
    "/hand.css": ("hand.css", "text/css; charset=utf-8"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Permissions-Policy": "xr-spatial-tracking=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class HeadsetServer:
    """Between ``start`` and ``stop`` the page is served; whoever has the token and comes first is the hand.

    Args:
        mailbox: gets every message that is fresh, and hears of every release and loss.
        answer: the words shown to the hand.
    """

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, mailbox: Mailbox[HandMessage], answer: Callable[[], str]
    ) -> None:
        self._host, self._port, self._context = host, port, context
        self._mailbox, self._answer = mailbox, answer
        self._token = secrets.token_urlsafe(12)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._hand: Any = None
        self._problem = ""

    @property
    def url(self) -> str:
        """What to open on the phone or headset. The token stands after the #, which browsers send to nobody."""
        host = lan_address() if self._host in ("", "0.0.0.0") else self._host
        return f"https://{host}:{self._port}/#{self._token}"

    @property
    def connected(self) -> bool:
        """True while a hand is connected."""
        return self._hand is not None

    def start(self) -> None:
        """Listen. Raises DeviceError if the address cannot be had."""
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="headset", daemon=True)
        self._thread.start()
        if not started.wait(_START_S) or self._problem:
            self.stop()
            hint = "Choose another port, or end the program that uses it"
            raise DeviceError(f"the page cannot be served on {self._host}:{self._port} ({self._problem})", hint)

    def stop(self) -> None:
        """Close the page and the hand's connection. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stopping is not None and thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join(5)
        self._mailbox.lose()

    def _run(self, started: threading.Event) -> None:
        try:
            asyncio.run(self._serve(started))
        except (OSError, ImportError) as error:
            self._problem = str(error)
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        asyncio_server = importlib.import_module("websockets.asyncio.server")
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        async with asyncio_server.serve(
            self._listen,
            self._host,
            self._port,
            ssl=self._context,
            process_request=self._request,
            subprotocols=[PROTOCOL],
            max_size=MOST_BYTES,
            max_queue=16,
            compression=None,
            open_timeout=5,
            ping_interval=2,
            ping_timeout=2,
            close_timeout=0.5,
            server_header=None,
            logger=_quiet(),
        ) as server:
            self._port = server.sockets[0].getsockname()[1]
            started.set()
            await self._stopping.wait()

    # the door -------------------------------------------------------------------------------------------------------

    def _request(self, connection: Any, request: Any) -> Any:
        """Serve a file, or let a websocket in: own address, own page as origin, right token."""
        path = urlsplit(request.path).path
        if not _is_own_host(request.headers.get("Host", "")):
            return connection.respond(HTTPStatus.FORBIDDEN, "Open this page by its address.\n")
        if path in _FILES:
            return _file(connection, *_FILES[path])
        if path != "/hand":
            return connection.respond(HTTPStatus.NOT_FOUND, "There is no such page.\n")
        if request.headers.get("Origin", "") != f"https://{request.headers.get('Host', '')}":
            return connection.respond(HTTPStatus.FORBIDDEN, "Only the workbench's own page may drive.\n")
        offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        given = next((word.removeprefix("token.") for word in offered if word.startswith("token.")), "")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "Open the address that the workbench shows now.\n")
        return None

    # the hand -------------------------------------------------------------------------------------------------------

    async def _listen(self, connection: Any) -> None:
        if self._hand is not None:
            await connection.close(BUSY, "another device is driving")
            return
        self._hand = connection
        limit, lateness, answered_s = RateLimit(MESSAGES_PER_S, BURST, time.monotonic), Lateness(), 0.0
        try:
            async for text in connection:
                if not limit.allows():
                    await connection.close(TOO_MANY, "too many messages")
                    return
                try:
                    message = parse(text if isinstance(text, str) else "")
                except ValueError as error:
                    await connection.close(NONSENSE, str(error))
                    return
                now_s = time.monotonic()
                self._deliver(message, lateness.of(message.t_ms, now_s))
                if now_s - answered_s >= _ANSWER_S:
                    answered_s = now_s
                    await connection.send(json.dumps({"t": message.t_ms, "words": self._answer()}))
        except importlib.import_module("websockets.exceptions").ConnectionClosed:
            _log.info("the hand's connection broke")
        finally:
            self._hand = None
            self._mailbox.lose()

    def _deliver(self, message: HandMessage, late_s: float) -> None:
        if message.held and late_s > STALE_S:
            return
        if message.mark:
            self._mailbox.mark(message.mark)
        self._mailbox.put(message, message.held)


def _file(connection: Any, name: str, kind: str) -> Any:
    response = connection.respond(HTTPStatus.OK, (_PAGE / name).read_text(encoding="utf-8"))
    del response.headers["Content-Type"]
    for header, value in {"Content-Type": kind, **_HEADERS}.items():
        response.headers[header] = value
    return response


def _is_own_host(host: str) -> bool:
    """An address, or this machine's own name: a foreign name that leads here is somebody else's page."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        own = socket.gethostname().lower()
        return name in ("localhost", own, f"{own}.local")


def _quiet() -> logging.Logger:
    """Strangers who knock are no errors of the program."""
    logger = logging.getLogger(f"{__name__}.websocket")
    logger.setLevel(logging.CRITICAL)
    return logger
