"""Opening the catalogue's database: SQLite in WAL mode or any other URL, brought up to date before use."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import column

from storage.tables import HEAD, Base
from workbench.core.errors import WorkbenchError

_MIGRATIONS = Path(__file__).parent / "migrations"
_QUICKLY_CHECKED_BYTES = 32 << 20  # about 0.1 s; a larger file is looked through by `doctor` alone


class BrokenDatabaseError(WorkbenchError):
    """The catalogue's file is damaged. It is only an index: put it aside and rebuild."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the catalogue is damaged ({why})", "Run `python main.py doctor --fix` to rebuild it")
        self.path = path


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine on an up-to-date database; ``fresh`` if it was made or migrated just now."""

    engine: Engine
    fresh: bool


def open_database(url: str, lock_path: Path | None) -> Opened:
    """The database at ``url``; without ``lock_path`` the caller holds the lock.

    BrokenDatabaseError, or WorkbenchError if it cannot be opened or is too new.
    """
    try:
        engine = create_engine(url)
    except Exception as error:
        raise WorkbenchError(
            f"the catalogue's URL {url!r} is wrong ({error})", "Check WORKBENCH_CATALOG_URL"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        check_file(engine)
        fresh = _revision(engine) != HEAD
        if fresh:
            with contextlib.nullcontext() if lock_path is None else locked(lock_path):
                _upgrade(engine)
        return Opened(engine, fresh)
    except DBAPIError as error:
        engine.dispose()
        path = sqlite_file(engine)
        if path is not None and is_damage(error):
            raise BrokenDatabaseError(path, str(error.orig)) from error
        raise WorkbenchError(f"the catalogue cannot be opened ({error.orig})", _advice(engine)) from error
    except BaseException:
        engine.dispose()
        raise


def check_file(engine: Engine, *, fully: bool = False) -> None:
    """BrokenDatabaseError if a SQLite file contradicts itself; a very large one is looked at only if ``fully``."""
    path = sqlite_file(engine)
    if path is None or not path.exists() or (path.stat().st_size > _QUICKLY_CHECKED_BYTES and not fully):
        return
    with engine.connect() as connection:
        found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    if found != "ok":
        raise BrokenDatabaseError(path, str(found))


def is_damage(error: DBAPIError) -> bool:
    """True if SQLite says that the file itself is broken; not if it is locked, read-only or the disk is full."""
    return type(error.orig) is sqlite3.DatabaseError


def sqlite_file(engine: Engine) -> Path | None:
    """The database's file, or None for a server or a database in memory."""
    name = engine.url.database
    return Path(name) if engine.dialect.name == "sqlite" and name and name != ":memory:" else None


def set_aside(path: Path) -> Path:
    """Rename a broken SQLite file and what belongs to it; returns the new name."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")
    target = path.with_name(f"{path.name}.broken-{stamp}")
    for end in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(target.with_name(target.name + end))
    return target


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: for migrations and for edits that touch disk and database together."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _advice(engine: Engine) -> str:
    if sqlite_file(engine) is not None:
        return "Check the data folder's disk and its rights"
    return "Check that the database server runs and that WORKBENCH_CATALOG_URL is right"


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # 64 MB of cache: an index over 100 000 takes fits.
    pragmas = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000", "cache_size=-65536")
    for pragma in pragmas:
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
        if before is None and not inspect(connection).get_table_names():
            _make(connection)
            return
        known = {path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")}
        if before is not None and before not in known:
            raise WorkbenchError("the catalogue was written by a newer version of this program", "Update the program")
        # Imported only now: alembic costs a fifth of a second, and nearly every start finds nothing to do.
        importlib.import_module("storage.migrate").upgrade(connection)


def _make(connection: Connection) -> None:
    """Make the tables of a new database as the migrations would leave them, ten times as quickly."""
    Base.metadata.create_all(connection)
    version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
    version.create(connection)
    connection.execute(version.insert().values(version_num=HEAD))
