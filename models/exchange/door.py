"""Who may speak with a policy server: this computer without a word, any other only with the token."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass

from models.exchange.codec import MOST_BYTES
from workbench.core.errors import WorkbenchError

SHORTEST_TOKEN = 12
_SCHEMES = ("api-key", "bearer")


@dataclass(frozen=True, slots=True)
class Door:
    """Where a server listens and what it puts up with.

    Attributes:
        port: 0 = any free one.
        token: what clients must show; "" = nothing, on this computer's own address only.
        tls_folder: where certificate and key are kept (made if missing); "" = no encryption.
        most_bytes: of one message.
        requests_per_s, burst: of one client; one that asks more often is sent away.
        clients: at most, at the same time.
        idle_s: a client that asks nothing for so long is sent away.
        send_s: a client that takes longer to accept an answer is sent away.
        ping_s: how often a client must show that it is there.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    tls_folder: str = ""
    most_bytes: int = MOST_BYTES
    requests_per_s: float = 60.0
    burst: float = 30.0
    clients: int = 8
    idle_s: float = 600.0
    send_s: float = 5.0
    ping_s: float = 10.0

    def check(self) -> None:
        """Raise WorkbenchError where a stranger could come in."""
        if self.token and (
            len(self.token) < SHORTEST_TOKEN or not self.token.isascii() or not self.token.isprintable()
        ):
            raise WorkbenchError(
                f"the token must be at least {SHORTEST_TOKEN} letters, digits and signs long",
                "Make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
            )
        if not self.token and not is_loopback(self.host):
            raise WorkbenchError(
                f"without a token the policy is served to this computer only, not on {self.host}",
                "Give --token, or set WORKBENCH_POLICY_TOKEN",
            )

    def lets_in(self, authorization: str) -> bool:
        """True if the header shows the token, as ``Api-Key TOKEN`` or ``Bearer TOKEN``; always without a token."""
        if not self.token:
            return True
        scheme, _, shown = authorization.partition(" ")
        same = hmac.compare_digest(shown.strip().encode("utf-8", "replace"), self.token.encode())
        return same and scheme.lower() in _SCHEMES


def is_loopback(host: str) -> bool:
    """True for addresses that only this computer can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
