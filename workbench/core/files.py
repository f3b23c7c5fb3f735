"""Small files that are either old or new, never half: written beside, synced, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
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


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 32 hex digits whose order is the order of creation, to the millisecond."""
    stamp_ms = time.time_ns() // 1_000_000
    value = (stamp_ms & ((1 << 48) - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"
