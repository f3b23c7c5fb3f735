"""A websocket server for one policy: takes requests from several clients, lets one thread answer them one by one.

It speaks as openpi's servers do: a message with what it serves on connecting, then one answer per request, ``OK`` under
``/healthz``, failures as text. A client that asks again before its turn has its older request dropped: the answer to an
old picture is of no use. A slow client delays nobody but itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from hardware.headset.certificate import own_names, tls_context
from models.exchange.codec import WireError, WireLimits, pack, unpack
from models.exchange.door import Door
from workbench.core.errors import WorkbenchError
from workbench.core.rate import RateLimit

_log = logging.getLogger(__name__)
_START_S = 10.0
NONSENSE, TOO_MANY, IDLE, FAILED = 1007, 1008, 4408, 1011
SUPERSEDED = "superseded: a newer request of this client came before this one was begun"


@dataclass(eq=False, slots=True)
class Client:
    """One connection. Its request waits in ``waiting`` until ``work`` takes it; ``state`` belongs to ``think``.

    Attributes:
        busy: its last answer is being computed or has not been accepted yet.
        spent_s: how long its last answer took from request to acceptance.
    """

    connection: Any
    limit: RateLimit
    state: dict[str, Any] = field(default_factory=dict)
    waiting: Any = None
    arrived_s: float = 0.0
    busy: bool = False
    spent_s: float = 0.0


Think = Callable[[Any, dict[str, Any]], dict[str, Any]]


class PolicyServer:
    """Listens in a thread of its own between ``start`` and ``stop``; whoever owns the policy calls ``work``.

    Args:
        metadata: what every client is told first.
    """

    def __init__(self, door: Door, metadata: Mapping[str, Any]) -> None:
        door.check()
        self.door, self.port = door, door.port
        self.counts = {"clients": 0, "answered": 0, "superseded": 0, "refused": 0, "failed": 0}
        self._hello = pack(dict(metadata))
        self._limits = WireLimits(bytes=door.most_bytes)
        self._clients: list[Client] = []
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._problem = ""

    @property
    def url(self) -> str:
        """What clients connect to."""
        host = f"[{self.door.host}]" if ":" in self.door.host else self.door.host
        return f"{'wss' if self.door.tls_folder else 'ws'}://{host}:{self.port}"

    def start(self) -> None:
        """Listen. WorkbenchError if the address cannot be had."""
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="policy-server", daemon=True)
        self._thread.start()
        if not started.wait(_START_S) or self._problem:
            self.stop()
            raise WorkbenchError(
                f"the policy cannot be served on {self.door.host}:{self.door.port} ({self._problem or 'no answer'})",
                "Choose another --port, or end the program that uses it",
            )

    def stop(self) -> None:
        """Close all connections. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stopping is not None and thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join(5)

    # the policy's thread --------------------------------------------------------------------------------------------

    def work(self, think: Think, timeout_s: float) -> bool:
        """Answer the request that waits longest, waiting for one up to ``timeout_s``; returns False if none came.

        ``think`` gets the request and the client's own state, and returns the answer; its WorkbenchError is told to
        the client, any other failure ends that connection.
        """
        with self._changed:
            client = self._next() or (self._changed.wait(timeout_s) and self._next())
            if not client:
                return False
            message, client.waiting, client.busy = client.waiting, None, True
        begun_s = time.monotonic()
        reply: bytes | str
        try:
            reply = self._timed(think(message, client.state), message, client, begun_s)
        except WorkbenchError as error:
            self.counts["refused"] += 1
            reply = str(error)
        except Exception as error:
            _log.exception("the policy failed")
            self.counts["failed"] += 1
            self._later(self._end(client, f"the policy failed: {type(error).__name__}"))
            return True
        self._later(self._reply(client, reply))
        return True

    def _next(self) -> Client | None:
        ready = [client for client in self._clients if client.waiting is not None and not client.busy]
        return min(ready, key=lambda client: client.arrived_s, default=None)

    def _timed(self, answer: dict[str, Any], message: Any, client: Client, begun_s: float) -> bytes:
        """The answer with how long it took; ``prev_total_ms`` is of the answer before, sending included."""
        spent_ms = 1000 * (time.monotonic() - begun_s)
        timing = {"infer_ms": spent_ms, "queue_ms": 1000 * (begun_s - client.arrived_s)}
        if client.spent_s:
            timing["prev_total_ms"] = 1000 * client.spent_s
        answer = {**answer, "server_timing": timing}
        answer.setdefault("policy_timing", {"infer_ms": spent_ms})
        number = message.get("request_id") if isinstance(message, dict) else None
        if isinstance(number, int | str) and len(str(number)) <= 64:
            answer["request_id"] = number
        return pack(answer)

    def _later(self, work: Any) -> None:
        """Let the server's thread do it; nothing is to be done once that has ended."""
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            return
        future: Future[None] = asyncio.run_coroutine_threadsafe(work, loop)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    # the server's thread --------------------------------------------------------------------------------------------

    def _run(self, started: threading.Event) -> None:
        try:
            asyncio.run(self._serve(started))
        except (OSError, WorkbenchError, ImportError) as error:
            self._problem = str(error)
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        library = importlib.import_module("websockets.asyncio.server")
        door = self.door
        context = tls_context(Path(door.tls_folder), own_names(door.host)) if door.tls_folder else None
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        async with library.serve(
            self._listen,
            door.host,
            door.port,
            ssl=context,
            process_request=self._request,
            max_size=door.most_bytes,
            max_queue=2,
            compression=None,
            open_timeout=5,
            ping_interval=door.ping_s,
            ping_timeout=door.ping_s,
            close_timeout=1,
            server_header=None,
            logger=_quiet(),
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await self._stopping.wait()

    def _request(self, connection: Any, request: Any) -> Any:
        """Health for everybody; a websocket for programs that show the token, never for a page in a browser."""
        if request.path.partition("?")[0] == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if request.headers.get("Origin") is not None:
            return connection.respond(HTTPStatus.FORBIDDEN, "Pages may not speak with this server.\n")
        if not self.door.lets_in(request.headers.get("Authorization", "")):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "Show the token: Authorization: Api-Key TOKEN\n")
        if len(self._clients) >= self.door.clients:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many clients.\n")
        return None

    async def _listen(self, connection: Any) -> None:
        limit = RateLimit(self.door.requests_per_s, self.door.burst, time.monotonic)
        client = Client(connection, limit)
        with self._changed:
            self._clients.append(client)
        self.counts["clients"] += 1
        try:
            await connection.send(self._hello)
            while await self._take(client):
                pass
        except (TimeoutError, importlib.import_module("websockets.exceptions").ConnectionClosed) as error:
            _log.info("a client has left: %s", error)
        finally:
            with self._changed:
                self._clients.remove(client)

    async def _take(self, client: Client) -> bool:
        """Put the next request of a client where ``work`` finds it; False if the connection is to end."""
        try:
            data = await asyncio.wait_for(client.connection.recv(), self.door.idle_s)
        except TimeoutError:
            await client.connection.close(IDLE, "nothing was asked for a long time")
            return False
        if not client.limit.allows():
            await client.connection.close(TOO_MANY, "too many requests")
            return False
        try:
            message = unpack(data, self._limits)
        except WireError as error:
            await self._send(client, str(error))
            await client.connection.close(NONSENSE, "not a message of this format")
            return False
        with self._changed:
            superseded = client.waiting is not None
            client.waiting, client.arrived_s = message, time.monotonic()
            self._changed.notify_all()
        if superseded:
            self.counts["superseded"] += 1
            await self._send(client, SUPERSEDED)
        return True

    async def _reply(self, client: Client, reply: bytes | str) -> None:
        await self._send(client, reply)
        self.counts["answered"] += isinstance(reply, bytes)
        with self._changed:
            client.busy, client.spent_s = False, time.monotonic() - client.arrived_s
            self._changed.notify_all()

    async def _send(self, client: Client, reply: bytes | str) -> None:
        """Send, or cut off a client that does not take it in time or is gone."""
        try:
            await asyncio.wait_for(client.connection.send(reply), self.door.send_s)
        except TimeoutError:
            client.connection.transport.abort()
            raise

    async def _end(self, client: Client, words: str) -> None:
        with contextlib.suppress(TimeoutError):
            await self._send(client, words)
            await client.connection.close(FAILED, "the policy failed; the text before says how")


def _quiet() -> logging.Logger:
    """Strangers who knock are no errors of the program."""
    logger = logging.getLogger(f"{__name__}.websocket")
    logger.setLevel(logging.CRITICAL)
    return logger
