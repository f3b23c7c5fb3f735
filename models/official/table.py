"""Which tensor of the release is which tensor here. ``*`` stands for weight and bias, ``#`` for a layer's number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

Table = tuple[tuple[str, str], ...]

_POST_BLOCK: Table = (
    ("self_attn.in_proj_weight", "among.weight"),
    ("self_attn.in_proj_bias", "among.bias"),
    ("self_attn.out_proj.*", "joined.*"),
    ("linear1.*", "enter.*"),
    ("linear2.*", "leave.*"),
    ("norm1.*", "norm_seen.*"),
    ("norm2.*", "norm_thought.*"),
)

_ATTENTION: Table = (
    ("to_q.weight", "query.weight"),
    ("to_k.weight", "key.weight"),
    ("to_v.weight", "value.weight"),
    ("to_out.0.*", "joined.*"),
)


def _below(theirs: str, ours: str, table: Table) -> Table:
    return tuple((f"{theirs}.{a}", f"{ours}.{b}") for a, b in table)


def _skip_stack(side: str) -> Table:
    theirs, ours = f"action_vae.{side}", f"{side}.stack"
    return (
        *_below(f"{theirs}.input_blocks.#", f"{ours}.down.#", _POST_BLOCK),
        *_below(f"{theirs}.middle_block", f"{ours}.middle", _POST_BLOCK),
        *_below(f"{theirs}.output_blocks.#", f"{ours}.up.#", _POST_BLOCK),
        (f"{theirs}.linear_blocks.#.*", f"{ours}.joins.#.*"),
        (f"{theirs}.norm.*", f"{ours}.norm.*"),
    )


def _patch_stack(theirs: str, ours: str, norms: Table) -> Table:
    block, mine = f"{theirs}.transformer_blocks.#", f"{ours}.blocks.#"
    return (
        *((f"{theirs}.ffn.{part}.*", f"{ours}.enter.{part}.*") for part in range(3)),
        *_below(f"{block}.spatial_attn", f"{mine}.across", _ATTENTION),
        (f"{block}.ffn.0.*", f"{mine}.enter.*"),
        (f"{block}.ffn.3.*", f"{mine}.leave.*"),
        *_below(block, mine, norms),
    )


CODEC: Table = (
    ("vq_t.codebook.weight", "book.codes_KD"),
    ("action_vae.global_motion_token", "encoder.queries"),
    ("action_vae.query_pos_encoder.pe", "encoder.places"),
    ("action_vae.skel_embedding.*", "encoder.enter.*"),
    *_skip_stack("encoder"),
    ("action_vae.dist_layer.*", "encoder.told.*"),
    ("action_vae.to_codebook.0.*", "encoder.leave.0.*"),
    ("action_vae.to_codebook.2.*", "encoder.leave.2.*"),
    ("action_vae.from_codebook.0.*", "decoder.enter.0.*"),
    ("action_vae.from_codebook.2.*", "decoder.enter.2.*"),
    ("action_vae.query_pos_decoder.pe", "decoder.places"),
    *_skip_stack("decoder"),
    ("action_vae.final_layer.*", "decoder.leave.*"),
)

ALIGNMENT: Table = (
    ("action_latent_i", "ask_irrelevant"),
    ("action_latent_t", "ask_action"),
    *_patch_stack(
        "visual_encoder",
        "reader",
        (("norm1.*", "norm_across.*"), ("norm2.*", "norm_along.*"), ("norm3.*", "norm_think.*")),
    ),
    *_below("visual_encoder.transformer_blocks.#.temporal_attn", "reader.blocks.#.along", _ATTENTION),
    ("to_codebook_i.*", "leave_irrelevant.*"),
    ("to_codebook_t.*", "leave_action.*"),
    ("vq_i.codebook.weight", "irrelevant_book.codes_KD"),
    ("patch_up.*", "patch_in.*"),
    ("action_up.*", "code_in.*"),
    *_patch_stack("visual_decoder", "foreseer", (("norm1.*", "norm_across.*"), ("norm2.*", "norm_think.*"))),
    ("visual_decoder.out.*", "foreseen.*"),
    ("temperature", "logit_scale"),
    ("bias", "logit_bias"),
)

# Beginnings of names that a checkpoint may also hold and nobody needs here.
LEFT_OUT: Table = (
    ("ema_", "the slow copy of the encoder, which only training needs"),
    ("dino_encoder.", "the frozen picture network, which is taken from its own folder"),
    ("astribot_pipeline.", "the release's scales of actions"),
    ("droid_pipeline.", "the release's scales of actions"),
    ("action_denormalization.", "the release's scales of actions"),
    ("delta_to_absolute.", "the release's scales of actions"),
)


def translated(names: Iterable[str], table: Table) -> dict[str, str]:
    """Our name of every one of their names that the table knows."""
    found = ((name, _translate(name, table)) for name in names)
    return {name: ours for name, ours in found if ours}


def theirs_of(name: str, table: Table) -> str:
    """Their name of one of ours; the name itself where the table does not know it."""
    return _translate(name, tuple((b, a) for a, b in table)) or name


def _translate(name: str, table: Table) -> str:
    for pattern, told in _patterns(table):
        if match := pattern.fullmatch(name):
            return match.expand(told)
    return ""


@lru_cache
def _patterns(table: Table) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(_pattern(theirs)), _template(ours)) for theirs, ours in table)


def _pattern(name: str) -> str:
    return re.escape(name).replace(r"\#", "(?P<layer>[0-9]{1,3})").replace(r"\*", "(?P<part>weight|bias)")


def _template(name: str) -> str:
    return name.replace("#", r"\g<layer>").replace("*", r"\g<part>")
