"""The verb `serve`: a model for robots that ask over the network."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hardware.headset.certificate import default_folder
from models import registry
from models.exchange.presets import LAYOUTS
from storage.layout import Home
from workbench.cli_learning import find_model
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, seconds
from workbench.services.remote_policy import TOKEN_VARIABLE
from workbench.services.serving import Serving, door_of
from workbench.services.settings import PolicySettings, load_settings

_LOOK_S = 0.25


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="default: the promoted or newest rf model")
    parser.add_argument("--head", choices=("rf", "ntp"), default="rf")
    parser.add_argument("--host", default="127.0.0.1", help="another address than this computer's own needs a token")
    parser.add_argument("--port", type=_port, default=8000, help="0: any free one")
    parser.add_argument("--token", default="", help=f"what clients must show; better in {TOKEN_VARIABLE}")
    parser.add_argument("--tls", action="store_true", help="encrypt, with a certificate made on first use")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), help="how clients name things (default: [policy] layout)")
    parser.add_argument("--seconds", type=seconds, default=0.0, help="end by itself")


def _serve(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    home = Home.open(options.home)
    certificates = default_folder().parent / "policy-server" if options.tls else None
    door = door_of(options.host, options.port, options.token, certificates)
    record = find_model(home, options.model, "rf") if options.model else registry.newest(home, "rf")
    serving = Serving(home, record.id, door, head=options.head, threads=options.threads)
    with _asked_to_end() as ended:
        serving.start(_layout(home, options.layout))
        try:
            _announce(serving, certificates, output)
            counts = _wait(serving, options.seconds, ended)
        finally:
            serving.close()
    output.say(f"{counts['answered']} requests of {counts['clients']} clients were answered")
    return {"model": record.id, "url": serving.url, "metadata": serving.metadata, **counts}


def _layout(home: Home, layout: str | None) -> PolicySettings:
    """The station's own, or a ready-made one without the station's changes."""
    return PolicySettings(layout=layout) if layout else load_settings(home.path).policy


def _announce(serving: Serving, certificates: Path | None, output: Output) -> None:
    """Where it listens, on both outputs: as a sentence for people, as an object of its own for scripts."""
    words = "with a token" if serving.door.token else "without a token, for this computer only"
    output.note(f"serving {serving.model_id} on {serving.url} ({words}); Ctrl-C ends it")
    if certificates is not None:
        output.note(f"clients need the certificate {certificates / 'certificate.pem'}")
    output.finish({"listening": serving.url, "model": serving.model_id})


def _wait(serving: Serving, most_s: float, ended: threading.Event) -> dict[str, int]:
    """Until Ctrl-C, a wish to terminate or the end of the time; a server that ends by itself raises why."""
    began_s = time.monotonic()
    while not ended.wait(_LOOK_S) and (not most_s or time.monotonic() - began_s < most_s):
        serving.stats()
    return serving.stats()


@contextlib.contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """Set once the program is interrupted or asked to terminate, instead of cutting short what it is doing."""
    ended = threading.Event()
    before = {one: signal.signal(one, lambda *_: ended.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return value


SERVE = Verb(_serve_arguments, _serve)
