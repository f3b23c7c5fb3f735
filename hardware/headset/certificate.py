"""The certificate of the teleoperation page: browsers give poses to secure pages only. Self-signed, made on first use.

By the ``openssl`` program, which every Linux has, rather than by a Python package of its own for one call a year.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

from workbench.core.errors import DeviceError

_DAYS = 397
_RENEW_S = 7 * 86400
_COMMAND_S = 20


def default_folder() -> Path:
    """Where certificate and key are kept, per user."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "clap-workbench" / "headset"


def own_names(host: str) -> tuple[str, ...]:
    """The names and addresses under which this machine can be asked for."""
    names = {"localhost", "127.0.0.1", socket.gethostname(), f"{socket.gethostname()}.local"}
    names.add(lan_address() if host in ("", "0.0.0.0", "::") else host)
    return tuple(sorted(name for name in names if name))


def lan_address() -> str:
    """This machine's address on the network that leads elsewhere; loopback if there is none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: choosing a route sends no packet
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def tls_context(folder: Path, names: tuple[str, ...]) -> ssl.SSLContext:
    """A server's context with a certificate for all the names; a missing, old or too narrow one is made anew.

    Raises:
        DeviceError: openssl is not installed or the folder cannot be written.
    """
    try:
        if not _serves(folder, names):
            _make(folder, names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    except OSError as error:
        hint = f"Look at the folder {folder}; deleting it makes a new certificate"
        raise DeviceError(f"the page's certificate cannot be made or read ({error})", hint) from error
    return context


def _serves(folder: Path, names: tuple[str, ...]) -> bool:
    listed = folder / "names.txt"
    if not listed.exists() or not set(names) <= set(listed.read_text().split()):
        return False
    certificate = str(folder / "certificate.pem")
    return _openssl("x509", "-checkend", str(_RENEW_S), "-noout", "-in", certificate).returncode == 0


def _make(folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder) as new:  # readable for its owner only, and so is what it holds
        made = _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"),
            *("-days", str(_DAYS), "-subj", "/CN=CLAP Workbench teleoperation"),
            *("-addext", "subjectAltName=" + ",".join(map(_alternative, names))),
            *("-keyout", f"{new}/key.pem", "-out", f"{new}/certificate.pem"),
        )
        if made.returncode != 0:
            raise DeviceError(f"openssl cannot make a certificate ({made.stderr.strip()[-200:]})", "Update openssl")
        (Path(new) / "key.pem").chmod(0o600)
        (Path(new) / "names.txt").write_text("\n".join(names))
        for name in ("names.txt", "key.pem", "certificate.pem"):
            (Path(new) / name).replace(folder / name)


def _alternative(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"DNS:{name}"
    return f"IP:{name}"


def _openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("openssl")
    if program is None:
        raise DeviceError("the program openssl is not installed", "Run: sudo apt install openssl")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=_COMMAND_S, check=False)
