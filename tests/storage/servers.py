"""A real PostgreSQL server for tests: made by initdb in a temporary folder, reached by a socket there."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def missing_server() -> str:
    """Why no server can be started here; "" if one can."""
    if _tool("initdb") is None or _tool("pg_ctl") is None:
        return "PostgreSQL's initdb is not installed (Debian: apt install postgresql)"
    if os.getuid() == 0 and _unprivileged() is None:
        return "PostgreSQL refuses to run as root and there is no other user"
    return ""


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a fresh server's database ``postgres``, SQLAlchemy's way, without the database's name."""
    root = Path(tempfile.mkdtemp(prefix="clap-pg-", dir="/tmp"))
    user = _unprivileged() if os.getuid() == 0 else None
    try:
        if user is not None:
            os.chown(root, user.pw_uid, user.pw_gid)
        name = "clap"
        data = root / "data"
        initdb = [_tool("initdb"), "-D", data, "-U", name, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        _run(initdb, root, user)
        options = f"-c listen_addresses= -c unix_socket_directories={root} -c fsync=off -c autovacuum=off"
        # Started by pg_ctl the server is nobody's child, so it does not look like a leftover of the test.
        _run([_tool("pg_ctl"), "-D", data, "-o", options, "-l", root / "log", "-w", "start"], root, user)
        try:
            yield f"postgresql+psycopg://{name}@/{{database}}?host={root}"
        finally:
            _run([_tool("pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop"], root, user)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(words: list[object], root: Path, user: pwd.struct_passwd | None) -> None:
    subprocess.run(
        [str(word) for word in words],
        cwd=root,
        stdout=subprocess.DEVNULL,  # a pipe would stay open as long as the server runs
        stderr=subprocess.DEVNULL,
        check=True,
        user=user and user.pw_uid,
        group=user and user.pw_gid,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )


def _unprivileged() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _tool(name: str) -> str | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))
