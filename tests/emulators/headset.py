"""What a headset's browser does, without one: a real websocket over TLS that says where the hand is."""

from __future__ import annotations

import json
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class HeadsetClient:
    """One browser. ``url`` is the whole address that the device shows, token included."""

    def __init__(self, url, *, token=None):
        parts = urlsplit(url)
        self._started_s = time.monotonic() - 1000.0  # a clock of its own
        self.delay_s = 0.0
        self._open = ExitStack()
        self.socket = self._open.enter_context(
            connect(
                f"wss://{parts.hostname}:{parts.port}/hand",
                ssl=trusting(),
                origin=f"https://{parts.netloc}",
                subprotocols=["clap-workbench-hand", f"token.{token if token is not None else parts.fragment}"],
                compression=None,
                proxy=None,
                open_timeout=5,
                close_timeout=1,
            )
        )

    def say(self, held, **more):
        t_ms = (time.monotonic() - self._started_s - self.delay_s) * 1e3
        self.socket.send(json.dumps({"t": t_ms, "held": held, **more}))

    def place(self, held, position, quaternion=(1, 0, 0, 0), **more):
        self.say(held, pose=[*map(float, position), *map(float, quaternion)], **more)

    def closed_with(self, timeout_s=2.0):
        """The code with which the other side hangs up."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                self.socket.recv(timeout=0.1)
            except TimeoutError:
                continue
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None
        raise AssertionError("still connected")

    def close(self):
        with suppress(ConnectionClosed, OSError):
            self._open.close()

    def drop(self):
        """The browser died: no closing words."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)


def trusting():
    """A browser whose user has accepted the self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
