"""Small files that are either old or new, never half: written beside, synced, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from workbench.core.errors import WorkbenchError


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` with ``data`` so that a crash leaves the old or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """``write_atomic`` of indented JSON with a final newline. NaN is refused."""
    write_atomic(path, (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Parse a JSON file; a broken one is a WorkbenchError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkbenchError(f"the file {path} is missing", "Check the path or run `python main.py doctor`") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"the file {path} is not valid JSON ({error})", "Run `python main.py doctor`") from error


def sync_directory(path: Path) -> None:
    """Make renames inside ``path`` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hash_bytes(*parts: bytes) -> str:
    """SHA-256 of the parts, hex."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def hash_tree(root: Path, skip: frozenset[str] = frozenset()) -> str:
    """SHA-256 over the relative names and contents of all files below ``root``, in name order."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.name not in skip):
        head = f"{path.relative_to(root)}\0{path.stat().st_size}\0"  # the size keeps names and contents apart
        digest.update(head.encode(errors="surrogateescape"))
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def new_id(after: str = "", now_ns: int | None = None) -> str:
    """A UUIDv7 (RFC 9562): 32 hex digits whose order is the order of creation, whatever becomes of the wall clock.

    Args:
        after: an id that must be smaller, for example the newest on disk. What is no UUIDv7 is disregarded.
        now_ns: the wall clock; None asks it.
    """
    global _last_issued
    stamp_ms = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    number = (stamp_ms & ((1 << 48) - 1)) << 74 | secrets.randbits(74)
    with _issuing:
        if number <= _last_issued:
            number = _last_issued + 1 + secrets.randbits(40)
        if now_ns is None:
            _last_issued = number
    number = min(max(number, _number_of(after) + 1 + secrets.randbits(40)), (1 << 122) - 1)
    head, middle, tail = number >> 74, number >> 62 & 0xFFF, number & ((1 << 62) - 1)
    return f"{head << 80 | 0x7 << 76 | middle << 64 | 0x2 << 62 | tail:032x}"


def _number_of(text: str) -> int:
    """The 122 bits of a UUIDv7 that are time and chance, -1 for anything else."""
    if not _UUID7.fullmatch(text):
        return -1
    value = int(text, 16)
    return (value >> 80) << 74 | (value >> 64 & 0xFFF) << 62 | value & ((1 << 62) - 1)


_UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
_issuing = threading.Lock()
_last_issued = -1
