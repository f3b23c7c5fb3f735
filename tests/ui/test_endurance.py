"""A short day of an operator in fast motion; for a long one: ``python -m tests.ui.endurance --minutes 30``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ui.endurance import leaks

SECONDS = "ENDURANCE_SECONDS"


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_an_operators_session_leaks_nothing_and_loses_nothing() -> None:
    minutes = float(os.environ.get(SECONDS, "60")) / 60
    done = subprocess.run(
        [sys.executable, "-m", "tests.ui.endurance", "--minutes", f"{minutes:.3f}"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and told["takes"] > 0, told


def test_growth_after_the_warm_up_is_a_leak_and_growth_before_is_not() -> None:
    steady = {"threads": 9.0, "files": 40.0}

    def session(step: float, early: float) -> list[dict[str, float]]:
        return [
            {"minutes": k / 4, "rss_mb": 200 + early * min(k, 5) + step * k, "widgets": 300 + step * k, **steady}
            for k in range(40)
        ]

    assert leaks(session(0.0, 30.0))[1] == []
    grown, found = leaks(session(3.0, 0.0))
    assert grown["widgets"] > 50 and len(found) == 2
