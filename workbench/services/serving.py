"""Serving a model to other computers: a process that holds it, started and watched from here."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.exchange.door import Door
from models.exchange.presets import OWN
from storage.layout import Home
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.services.hosting import Child, Host
from workbench.services.remote_policy import TOKEN_VARIABLE
from workbench.services.settings import PolicySettings

SERVER_MAIN = "models.policy_server:main"
_START_S = 120.0


def door_of(host: str, port: int, token: str = "", tls_folder: Path | None = None) -> Door:
    """Where to listen; the token is the given one, else the environment's. WorkbenchError if that lets strangers in."""
    known = token or os.environ.get(TOKEN_VARIABLE, "")
    door = Door(host=host, port=port, token=known, tls_folder=str(tls_folder) if tls_folder else "")
    door.check()
    return door


class Serving:
    """A model that is being served. Close it; use it from one thread at a time.

    Args:
        layout: what requests and answers look like (the section ``[policy]``); this program's own by default.
        threads: run the server in this process.
    """

    def __init__(self, home: Home, model_id: str, door: Door, *, head: str = "rf", threads: bool = False) -> None:
        self.model_id, self.door = model_id, door
        self._folder, self._head, self._threads = home.models / model_id, head, threads
        self._host: Host | None = None
        self._child: Child | None = None
        self._where: dict[str, Any] = {}

    def start(self, policy: PolicySettings | None = None, bus: Bus | None = None) -> None:
        """Load the model and listen; returns once clients are served. WorkbenchError says why that cannot be."""
        layout, changes = (policy.layout, policy.keys) if policy else (OWN, {})
        self._host = Host(bus, threads=self._threads)
        values = {"folder": str(self._folder), "door": asdict(self.door), "head": self._head}
        self._child = self._host.start("policy server", SERVER_MAIN, **values, layout=layout, changes=changes)
        try:
            self._where = self._child.call("where", timeout_s=_START_S)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """What clients connect to."""
        return str(self._where["url"])

    @property
    def metadata(self) -> dict[str, Any]:
        """What clients are told."""
        return dict(self._where["metadata"])

    @property
    def pid(self) -> int | None:
        """The server's process, None while there is none of its own."""
        return self._child.pid if self._child else None

    def stats(self) -> dict[str, int]:
        """How many clients came, and what became of their requests. WorkbenchError if the server has ended."""
        if self._child is None:
            raise WorkbenchError("the policy is not served", "Start serving first")
        counts: dict[str, int] = self._child.call("stats")
        return counts

    def close(self) -> None:
        """Stop listening, end the process. Safe to call twice."""
        if self._host is not None:
            self._host.close()
        self._host = self._child = None
