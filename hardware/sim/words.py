"""Requests to the simulated station over a socket, for holders of its key only."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from hardware.sim.remote import KEY_FILE, SOCKET
from workbench.core.errors import WorkbenchError

WORDS = ("reset", "succeeded", "scene", "actor", "start_hand", "stop_hand", "hand_done", "hand_truth", "unplug", "plug")
_PATH_LIMIT = 100
_HEAR_S = 0.2


class Words:
    """Answers requests of ``RemoteStation`` over a socket that only holders of the key file can speak to."""

    def __init__(self, folder: Path, answerer: object) -> None:
        self._address = str(folder / SOCKET)
        if len(self._address) > _PATH_LIMIT:
            raise WorkbenchError(f"the folder name {folder} is too long for a socket", "Use a shorter folder")
        self._key = secrets.token_bytes(32)
        handle = os.open(folder / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(self._key)
        self._key_file = folder / KEY_FILE
        self._answerer = answerer
        self._listener = Listener(self._address, "AF_UNIX", backlog=16, authkey=self._key)
        self._talks: list[threading.Thread] = []

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                client = self._listener.accept()
            except (OSError, EOFError, AuthenticationError):
                continue  # a stranger without the key, or the wake-up of ``close``
            talk = threading.Thread(target=self._converse, args=(client, stop), name="sim-words-client", daemon=True)
            talk.start()
            self._talks = [other for other in self._talks if other.is_alive()] + [talk]

    def _converse(self, client: Connection, stop: threading.Event) -> None:
        with client, contextlib.suppress(OSError, EOFError):  # the other side has hung up
            while not stop.is_set():
                if client.poll(_HEAR_S):
                    word, values = client.recv()
                    client.send(self._answer(word, values))

    def _answer(self, word: str, values: dict[str, Any]) -> tuple[str, Any]:
        if word not in WORDS:
            return "error", (f"the simulated station does not know '{word}'", "")
        try:
            return "answer", getattr(self._answerer, word)(**values)
        except WorkbenchError as error:
            return "error", (error.what, error.next_step)
        except Exception as error:
            return "error", (f"'{word}' failed: {type(error).__name__}: {error}", "See the log")

    def wake(self) -> None:
        """Let the listening thread notice that ``stop`` is set."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as knock:
            knock.connect(self._address)

    def close(self) -> None:
        """After the listening thread has ended: wait for talks to end, remove socket and key."""
        for talk in self._talks:
            talk.join(5.0)
        self._listener.close()
        self._key_file.unlink(missing_ok=True)
