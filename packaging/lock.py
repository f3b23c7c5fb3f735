"""Write requirements.lock: the version of every package that requirements.in leads to, as installed here.

Usage: ``python packaging/lock.py [--check]``. ``--check`` writes nothing and exits 1 when the file would change.
Only names and versions go into the lock: no hashes and no addresses, because torch comes in a different build for
each kind of machine. What torch adds on machines with an accelerator is left out; torch itself pins those exactly.
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SOURCE, LOCK = ROOT / "requirements.in", ROOT / "requirements.lock"
MACHINE_SPECIFIC = ("nvidia-", "cuda-", "triton")
HEAD = "# Written by `make lock` from requirements.in. Python 3.11.\n"


def wanted(text: str) -> list[Requirement]:
    """The requirements of a requirements.in file."""
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def close_over(roots: list[Requirement]) -> dict[str, tuple[str, set[str]]]:
    """Installed name -> (version without its build tag, who asks for it), for everything the roots need."""
    found: dict[str, tuple[str, set[str]]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [(root, "requirements.in") for root in roots]
    while queue:
        requirement, asker = queue.pop()
        key = canonicalize_name(requirement.name)
        if key.startswith(MACHINE_SPECIFIC):
            continue
        installed = metadata.distribution(requirement.name)
        version = installed.version.split("+")[0]
        if requirement.specifier and not requirement.specifier.contains(version, prereleases=True):
            raise SystemExit(f"{requirement} is asked for by {asker}, but {version} is installed. Run `make lock`.")
        found.setdefault(key, (version, set()))[1].add(asker)
        visit = (key, frozenset(requirement.extras))
        if visit in seen:
            continue
        seen.add(visit)
        extras = requirement.extras or {""}
        for line in installed.requires or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append((needed, key))
    return found


def render(found: dict[str, tuple[str, set[str]]]) -> str:
    """The text of requirements.lock."""
    rows = (
        f"{name}=={version}  # via {', '.join(sorted(askers))}" for name, (version, askers) in sorted(found.items())
    )
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write requirements.lock from requirements.in and this environment.")
    parser.add_argument("--check", action="store_true", help="only say whether the lock is up to date")
    check = parser.parse_args().check
    text = render(close_over(wanted(SOURCE.read_text())))
    if check:
        if LOCK.read_text() != text:
            print("requirements.lock is not what is installed. Run `make lock`.", file=sys.stderr)
            return 1
        return 0
    LOCK.write_text(text)
    print(f"wrote {LOCK.name}: {text.count('==')} packages")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
