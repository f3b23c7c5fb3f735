"""Which takes are only measured on. Free of torch, so that whoever plans a run can tell beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.files import hash_bytes


def held_out_ids(episodes: Sequence[tuple[str, bool]], share: float) -> frozenset[str]:
    """Ids to measure on, from (id, is human): those whose hash falls below ``share``.

    At least one of each sort that has three or more. Which side a take is on depends on its own id, so takes that are
    added later do not move it.
    """
    chosen: set[str] = set()
    for human in (False, True):
        ids = sorted({i for i, h in episodes if h is human}, key=place)
        below = [i for i in ids if place(i) < share]
        if not below and len(ids) >= 3 and share > 0:
            below = ids[:1]
        chosen.update(below[: max(1, len(ids) // 2)] if len(ids) > 1 else [])
    return frozenset(chosen)


def place(episode_id: str) -> float:
    """Where the hash of an id lies between 0 and 1."""
    return int(hash_bytes(episode_id.encode())[:8], 16) / 2**32
