"""The figures of an alignment's report, each with its number of windows, its interval and what to compare it with.

Made from ``alignment.json`` of a run (sums by take, written by the explaining process). Intervals are 95 % bootstrap
intervals over takes: windows of one take are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.services.bench_learn_numbers import Array, interval, r2, share, stack

_DRAWS = 1000
SHARE, MM, DEGREES, MS, PLAIN, COUNT = "share", "mm", "degrees", "ms", "", "count"
Sums = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        name: its key in ``report.json``; ``words`` say it to a person.
        value: None where there was nothing to measure.
        unit: one of ``share mm degrees ms count`` or "" (R2, perplexity).
        n: windows it was measured on (of ``takes`` takes); interval: 95 %, None where it cannot be said.
        baseline, against: the number to compare with and what it is.
        high_is_good: None where neither is.
    """

    name: str
    words: str
    value: float | None
    unit: str
    n: int
    takes: int = 0
    interval: tuple[float, float] | None = None
    baseline: float | None = None
    against: str = ""
    high_is_good: bool | None = True

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``report.json``."""
        return {
            "value": self.value,
            "unit": self.unit,
            "n": self.n,
            "takes": self.takes,
            "interval": list(self.interval) if self.interval else None,
            "baseline": self.baseline,
            "against": self.against,
            "words": self.words,
            "high_is_good": self.high_is_good,
        }

    @classmethod
    def from_json(cls, name: str, value: Mapping[str, Any]) -> Figure:
        """Invert ``to_json``."""
        low_high = value["interval"]
        edges = (float(low_high[0]), float(low_high[1])) if low_high else None
        rest = {
            key: value[key] for key in ("words", "value", "unit", "n", "takes", "baseline", "against", "high_is_good")
        }
        return cls(name, interval=edges, **rest)


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that belong together, with what was done."""

    title: str
    how: str
    figures: tuple[Figure, ...]


def groups(found: Mapping[str, Any]) -> tuple[Group, ...]:
    """All figures of an ``alignment.json``, in the order a person should read them."""
    made = (_retrieval(found), _reading(found), _people(found), _latents(found), _swap(found), _codec(found))
    return tuple(group for group in made if group.figures)


def of(sums: Sums, figure: Callable[[Array], float]) -> tuple[float | None, tuple[float, float] | None]:
    """A figure of all takes together and its interval over takes."""
    if not sums:
        return None, None
    stacked = stack([sums])
    value = figure(stacked.sum(axis=(0, 1)))
    if not np.isfinite(value):
        return None, None
    low, high = interval(stacked, figure, draws=_DRAWS)
    return value, (low, high) if np.isfinite(low) and np.isfinite(high) else None


def root(column: int, by: int) -> Callable[[Array], float]:
    """Root of one sum over another."""
    return lambda sums_K: float(np.sqrt(sums_K[column] / sums_K[by])) if sums_K[by] else float("nan")


def _figure(
    name: str, words: str, sums: Sums, figure: Callable[[Array], float], unit: str, n: int, **more: Any
) -> Figure:
    value, edges = of(sums, figure)
    return Figure(name, words, value, unit, n, len(sums), edges, **more)


def _retrieval(found: Mapping[str, Any]) -> Group:
    part = found["retrieval"]
    sums, distinct = part["by_take"], max(1.0, float(part["distinct"]))
    n = int(sum(values[2] for values in sums.values()))
    against = "picking blindly"
    return Group(
        "Do pictures find their own action?",
        f"Each held-out robot window is looked for among {part['gallery']} random ones; windows with equal tokens "
        f"count as one, so {distinct:.0f} different ones are left on average. Ties count against the model.",
        (
            _figure("retrieval_top1", "own action found first", sums, share(0, 2), SHARE, n,
                    baseline=1 / distinct, against=against),
            _figure("retrieval_top5", "own action among the first five", sums, share(1, 2), SHARE, n,
                    baseline=min(1.0, 5 / distinct), against=against),
        ),
    )  # fmt: skip


def _reading(found: Mapping[str, Any]) -> Group:
    n, tokens, decoded = int(found["windows"]), found["tokens"]["by_take"], found["decoded"]
    step_ms = 1000 * float(found["step_s"])
    still, _ = of(decoded["mean_chunk"], root(1, 0))
    common, _ = of(tokens, share(1, 2))
    return Group(
        "Is the action that is read off pictures right?",
        "Tokens read off two pictures of held-out robot takes, against the tokens of what was really done, and the "
        "motion they decode to against the true one.",
        (
            _figure("token_accuracy", "tokens right", tokens, share(0, 2), SHARE, n,
                    baseline=common, against="always the commonest token"),
            _figure("decoded_rmse_mm", "error of the decoded motion", decoded["errors"], root(1, 0), MM, n,
                    baseline=still, against="always the mean motion", high_is_good=False),
            _figure("decoded_final_mm", "the same at the last step", decoded["errors"], root(5, 4), MM, n,
                    baseline=of(decoded["mean_chunk"], root(5, 4))[0], against="always the mean motion",
                    high_is_good=False),
            _figure("decoded_r2", "R2 of the decoded displacement", decoded["motion"], r2, PLAIN, n,
                    baseline=0.0, against="always the mean motion"),
            *_switches("decoded", decoded["switches"], step_ms),
        ),
    )  # fmt: skip


def _people(found: Mapping[str, Any]) -> Group:
    human = found["human"]
    n = int(human.get("windows", 0))
    if not n:
        return Group("How are people's hands read?", "", ())
    codes, motion = human["codes"], human.get("motion", {})
    seen = int(sum(values[0] for values in motion.values()))
    figures = [
        Figure("human_used", "codes used for people's clips", codes["used"], COUNT, n, int(human["takes"]),
               baseline=codes["codes"], against="codes in the book"),
        Figure("human_perplexity", "perplexity of their tokens", codes["perplexity"], PLAIN, n, int(human["takes"]),
               baseline=found["codes_seen"]["perplexity"], against="robot pictures"),
    ]  # fmt: skip
    if motion:
        words = "R2 of the hand's displacement"
        more = {"baseline": 0.0, "against": "always the mean motion"}
        figures.insert(0, _figure("human_r2", words, motion, r2, PLAIN, seen, **more))
    how = "People's clips have no true action. "
    how += (
        "Of a simulated hand the true motion is known to the scorer alone, so it can be told how well it was read."
        if motion
        else "Only of a simulated hand could it be said how well its motion was read."
    )
    return Group("How are people's hands read?", how, tuple(figures))


def _latents(found: Mapping[str, Any]) -> Group:
    probes, n = found["probes"], int(found["windows"])
    luck, _ = of(probes["shuffled"], r2)
    words = {
        "action": "R2 from the action latents",
        "irrelevant": "R2 from the irrelevant latents",
        "difference": "R2 from the plain difference of the pictures",
    }
    return Group(
        "Is the action where it should be?",
        "Linear probes (ridge, fitted on training takes) of the displacement at the end of the chunk. It should be "
        "told by the action latents and not by the irrelevant ones.",
        tuple(
            _figure(f"probe_{name}_r2", text, probes[name], r2, PLAIN, n, baseline=luck,
                    against="a probe of wrong rows", high_is_good=None if name == "irrelevant" else True)
            for name, text in words.items()
        ),
    )  # fmt: skip


def _swap(found: Mapping[str, Any]) -> Group:
    part = found["swap"]
    n = int(part.get("n", 0))
    if not n:
        return Group("Does the background matter?", "", ())
    takes, moved = int(part["takes"]), part["moved_mm"]
    chance, _ = of(part["other"], share(0, 1))
    words = {"sham": "tokens that stay after cutting out alone", "noise": "tokens that stay under a camera's noise"}
    still = [
        Figure(f"swap_{name}", text, of(part[name], share(0, 1))[0], SHARE, n, takes)
        for name, text in words.items()
        if name in part
    ]
    return Group(
        "Does the background matter?",
        "What moves in a take (the arm and what it carries, with a margin) is cut out of its pictures, colours and "
        "depth alike, and laid on the still part of another take, with that take's objects. Beside it the same onto "
        "the take's own still part, which shows what the cutting alone costs, and untouched pictures with noise: no "
        "token is firmer than that. Neighbouring codes mean nearly the same motion, so the way that the motion moves "
        "counts more than tokens that change.",
        (
            _figure("swap_agreement", "tokens that stay on another background", part["swap"], share(0, 1), SHARE, n,
                    baseline=chance, against="tokens of another take's window"),
            *still,
            Figure("swap_moved_mm", "how far the decoded motion moves", moved["swap"], MM, n, takes,
                   baseline=moved["other"], against="another take's window", high_is_good=False),
            *([Figure("swap_noise_mm", "how far a camera's noise moves it", moved["noise"], MM, n, takes)]
              if "noise" in moved else []),
        ),
    )  # fmt: skip


def _codec(found: Mapping[str, Any]) -> Group:
    part, n = found["codec"], int(found["windows"])
    mean = found["decoded"]["mean_chunk"]
    codes, takes = part["codes"], int(found["takes"])
    against = "always the mean motion"
    return Group(
        "What the codebook itself can say",
        "True chunks through the Act-VAE and back: no alignment can be more exact than this.",
        (
            _figure("codec_rmse_mm", "position error of the codec", part["errors"], root(1, 0), MM, n,
                    baseline=of(mean, root(1, 0))[0], against=against, high_is_good=False),
            _figure("codec_rmse_deg", "rotation error of the codec", part["errors"], root(2, 0), DEGREES, n,
                    baseline=of(mean, root(2, 0))[0], against=against, high_is_good=False),
            *_switches("codec", part["switches"], 1000 * float(found["step_s"])),
            Figure("codes_used", "codes used", codes["used"], COUNT, n, takes,
                   baseline=codes["codes"], against="codes in the book"),
            Figure("codes_dead", "dead codes", codes["dead"], COUNT, n, takes, high_is_good=False),
            Figure("perplexity", "perplexity", codes["perplexity"], PLAIN, n, takes,
                   baseline=codes["codes"], against="all codes equally often"),
        ),
    )  # fmt: skip


def _switches(name: str, sums: Sums, step_ms: float) -> tuple[Figure, ...]:
    """Opening and closing: found, and how far off in time."""
    total = stack([sums]).sum(axis=(0, 1)) if sums else np.zeros(5)
    off = lambda sums_K: step_ms * float(sums_K[2] / sums_K[1]) if sums_K[1] else float("nan")  # noqa: E731
    return (
        _figure(f"{name}_switch_found", "gripper switches found", sums, share(1, 0), SHARE, int(total[0])),
        _figure(f"{name}_switch_off_ms", "how far off in time", sums, off, MS, int(total[1]), high_is_good=False),
    )
