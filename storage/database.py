"""Opening the catalogue's database: SQLite in WAL mode or any other URL, brought up to date before use."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import column

from storage.tables import HEAD
from workbench.core.errors import WorkbenchError

_MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(url: str, lock_path: Path) -> Engine:
    """An engine on an up-to-date database. WorkbenchError if it cannot be opened or is newer than this program."""
    try:
        engine = create_engine(url)
    except Exception as error:
        raise WorkbenchError(
            f"the catalogue's URL {url!r} is wrong ({error})", "Check WORKBENCH_CATALOG_URL"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        if _revision(engine) != HEAD:
            with locked(lock_path):
                _upgrade(engine)
    except DBAPIError as error:
        engine.dispose()
        raise WorkbenchError(
            f"the catalogue cannot be opened ({error.orig})",
            "Move the file catalog.db away and run `python main.py doctor`, which rebuilds it from the takes",
        ) from error
    return engine


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: for migrations and for edits that touch disk and database together."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _revision(engine: Engine) -> str | None:
    """The database's migration, or None for a new one. Much quicker than asking alembic."""
    with engine.connect() as connection:
        return _revision_on(connection)


def _revision_on(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(select(column("version_num")).select_from(table("alembic_version"))).scalar()


def _upgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        before = _revision_on(connection)
        if before == HEAD:  # another process was quicker
            return
        known = {path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")}
        if before is not None and before not in known:
            raise WorkbenchError("the catalogue was written by a newer version of this program", "Update the program")
        # Imported only now: alembic costs a fifth of a second, and nearly every start finds nothing to do.
        importlib.import_module("storage.migrate").upgrade(connection)
