"""The held-out figures of a stage as tables: what matters in front, everything else folded away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from workbench.services.blocks import Block

HIGHLIGHTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "act_vae": MappingProxyType(
            {
                "rmse_mm": "position error, mm (root mean square)",
                "mean_chunk_rmse_mm": "the same for the mean chunk, mm",
                "rmse_deg": "rotation error, degrees",
                "gripper_accuracy": "gripper right",
                "used": "codes used",
                "dead": "dead codes",
                "codes": "codes in the book",
                "perplexity": "perplexity",
            }
        ),
        "vd_vae": MappingProxyType(
            {
                "retrieval_top1": "own action found first among all these windows",
                "retrieval_top5": "own action among the first five",
                "chance": "chance, first",
                "chance_top5": "chance, five",
                "n": "windows",
                "decode_r2": "R2 of the motion told from pictures",
                "decode_rmse_mm": "its error, mm",
                "mean_chunk_rmse_mm": "error of the mean chunk, mm",
            }
        ),
        "ntp": MappingProxyType(
            {
                "token_accuracy": "tokens right",
                "token_majority": "always the commonest token",
                "token_ce": "cross-entropy, nats",
                "keyframe_mm": "next grasp or release, mm",
            }
        ),
    }
)
SHARES = frozenset({"gripper_accuracy", "retrieval_top1", "retrieval_top5", "chance", "chance_top5"})
SHARES_OF_TOKENS = frozenset({"token_accuracy", "token_majority"})
HEADS: Mapping[str, str] = MappingProxyType({"reg": "regression", "ntp": "tokens", "rf": "flow"})


def metric_blocks(stage: str, metrics: Mapping[str, Any]) -> Iterator[Block]:
    """Tables for a stage's ``metrics.json``; nothing for an empty one."""
    names = HIGHLIGHTS.get("ntp" if stage == "rf" else stage, {})
    rows = tuple((words, _shown(name, metrics[name])) for name, words in names.items() if name in metrics)
    if rows:
        where = (
            "Measured on held-out episodes" if metrics.get("held_out", True) else "Measured on the training episodes"
        )
        yield Block(where, columns=("", ""), rows=rows)
    yield from _by_position(metrics.get("positions", ()))
    yield from _by_source(metrics.get("by_source", {}))
    yield from _by_head(metrics)
    flat = flatten(metrics)
    if flat:
        everything = tuple((name, short(value)) for name, value in flat.items())
        yield Block("Every figure", columns=("", ""), rows=everything, shape="folded")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level with dotted names; long lists are left out."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        elif not (isinstance(value, list | tuple) and len(value) > 8):
            flat[prefix + name] = value
    return flat


def short(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(short(part) for part in value)
    return "unknown" if value is None else str(value)


def _shown(name: str, value: Any) -> str:
    if name in SHARES | SHARES_OF_TOKENS and isinstance(value, int | float):
        return f"{100 * value:.1f} %"
    return short(value)


def _by_position(positions: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Codes in use at every place of the token string."""
    rows = tuple((place, short(use["used"]), short(use["perplexity"])) for place, use in enumerate(positions, 1))
    if rows:
        yield Block("Codes by position of the token", columns=("position", "codes used", "perplexity"), rows=rows)


def _by_source(sources: Mapping[str, Mapping[str, Any]]) -> Iterator[Block]:
    """Reconstruction apart by whose actions they are: the station's own, each imported robot's."""
    columns = ("actions of", "mm", "mean chunk, mm", "degrees", "gripper right", "windows")
    names = ("rmse_mm", "mean_chunk_rmse_mm", "rmse_deg", "gripper_accuracy", "windows")
    rows = tuple((source, *(_shown(n, figures.get(n)) for n in names)) for source, figures in sources.items())
    if rows:
        yield Block("Reconstruction by source", columns=columns, rows=rows)


def _by_head(metrics: Mapping[str, Any]) -> Iterator[Block]:
    """Open-loop error of every head at a few steps of the chunk, beside the codec's own and the mean chunk's."""
    heads = {HEADS.get(head, head): errors for head, errors in metrics.get("errors_mm", {}).items()}
    for name, words in (("codec_mm", "the codec itself"), ("mean_chunk_mm", "the mean chunk")):
        if isinstance(metrics.get(name), Mapping):
            heads[words] = metrics[name]
    steps = tuple(next(iter(heads.values()), {}))
    if heads and steps:
        rows = tuple((head, *(short(errors.get(step)) for step in steps)) for head, errors in heads.items())
        columns = ("head", *(f"step {step}, mm" for step in steps))
        yield Block("Open-loop position error on held-out episodes", columns=columns, rows=rows)
