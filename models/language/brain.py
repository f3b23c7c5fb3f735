"""A base model at work: reads pictures and sentences once, keeps keys and values, and goes on token by token.

The base's weights stay out of the policy's own: only what is tuned (a low-rank adapter, or everything) is handed out as
parameters. Letters: B rows, C cameras, L tokens read so far, n new ones, M width of the language model, W words.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.language.base import Base, load
from models.language.families import split_instruction
from workbench.core.errors import WorkbenchError

LARGEST_RANK = 1024
_MOST_PROMPTS = 4096
# The attention and feed-forward layers of both families' decoders, by the names they share.
_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Context:
    """What has been read.

    Attributes:
        layers: keys and values (B, heads, L, numbers) of every layer.
        mask_BL: which of the L tokens are no filling. next_B: the place of the next token.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask_BL: Tensor
    next_B: Tensor


class Brain:
    """One loaded base with its adapter. Not thread-safe.

    Args:
        cameras: their names are told to the model; pictures come in this order.
        px: side of the pictures. tuning: one of ``Thinking.TUNINGS``. rank: of the adapter.

    Raises WorkbenchError if the base cannot be loaded or the pictures' size does not fit it.
    """

    def __init__(self, base: Base, cameras: Sequence[str], px: int, tuning: str, rank: int) -> None:
        self.base, self.cameras, self.px, self.tuning, self.rank = base, tuple(cameras), px, tuning, rank
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        network, self._tokenizer = load(base, base.family.network, dtype)
        unit = base.family.unit_px(network.config)
        if px % unit:
            near = max(unit, round(px / unit) * unit)
            raise WorkbenchError(
                f"{base.family.title} sees pictures in squares of {unit} pixels, {px} is no multiple",
                f"Set picture_px={near}",
            )
        self._picture_tokens = (px // unit) ** 2
        self.network: Any = network.to(self.device)
        self.decoder: Any = base.family.decoder(self.network)
        self.tuned: dict[str, nn.Parameter] = _tune(self.network, self.decoder, tuning, rank)
        self._mean, self._spread = (torch.tensor(v).view(1, 1, 3, 1, 1) for v in (base.mean, base.spread))
        self._prompts: dict[str, tuple[int, ...]] = {}

    @property
    def width(self) -> int:
        """M."""
        return int(self.network.config.text_config.hidden_size)

    def usual_rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean word embedding (M,), the scatter of words around it (M,), and the mean output row (M,)."""
        words = self.network.get_input_embeddings().weight.detach().float()
        return words.mean(dim=0), words.std(dim=0), self.network.lm_head.weight.detach().float().mean(dim=0)

    def words(self, hidden_BnM: Tensor) -> Tensor:
        """What the base's own vocabulary makes of hidden states: logits (B, n, W)."""
        logits: Tensor = self.network.lm_head(hidden_BnM.to(self.network.dtype))
        return logits.float()

    def read(self, pictures_BC3PP: Tensor, sentences: Sequence[str]) -> Context:
        """Read pictures (0..1) and instructions, each row by itself."""
        family = self.base.family
        tokens_BL, mask_BL = (part.to(self.device) for part in self._tokens(tuple(sentences)))
        standard = (pictures_BC3PP - self._mean) / self._spread
        given = family.pictures(self.network.config, standard.to(self.device, self.network.dtype))
        places = family.places(self.network, tokens_BL, mask_BL, given)
        out = self.network.model(
            input_ids=tokens_BL, attention_mask=mask_BL, position_ids=places, use_cache=True, **given
        )
        last = places if places.ndim == 2 else places.amax(dim=0)
        return Context(_layers(out.past_key_values), mask_BL, last.amax(dim=1) + 1)

    def go_on(self, embedded_BnM: Tensor, context: Context) -> tuple[Tensor, Context]:
        """Hidden states (B, n, M) of new tokens after what was read, and what has been read then."""
        # Imported by now: there is a network.
        from transformers import DynamicCache  # noqa: PLC0415

        batch, count, _ = embedded_BnM.shape
        new = torch.ones(batch, count, dtype=context.mask_BL.dtype, device=self.device)
        mask_BL = torch.cat([context.mask_BL, new], dim=1)
        places = context.next_B[:, None] + torch.arange(count, device=self.device)
        out = self.decoder(
            inputs_embeds=embedded_BnM.to(self.device, self.network.dtype),
            attention_mask=mask_BL,
            position_ids=places if self.base.kind != "qwen3_vl" else places.expand(3, -1, -1),
            past_key_values=DynamicCache(context.layers),
            use_cache=True,
        )
        after = Context(_layers(out.past_key_values), mask_BL, context.next_B + count)
        return out.last_hidden_state.float(), after

    def _tokens(self, sentences: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Token ids (B, L), filled up on the left, and which are none of the filling."""
        rows = [self._prompt(sentence) for sentence in sentences]
        longest = max(map(len, rows))
        tokens = [[0] * (longest - len(row)) + list(row) for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(tokens), torch.tensor(mask)

    def _prompt(self, sentence: str) -> tuple[int, ...]:
        """Token ids of a whole prompt. WorkbenchError if the tokenizer does not know the family's picture token."""
        if sentence not in self._prompts:
            if len(self._prompts) >= _MOST_PROMPTS:
                self._prompts.clear()
            self._prompts[sentence] = self._encoded(*split_instruction(sentence))
        return self._prompts[sentence]

    def _encoded(self, task: str, step: str) -> tuple[int, ...]:
        family = self.base.family
        text = family.prompt(self.cameras, self._picture_tokens, task, step)
        ids = tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
        if ids.count(self.network.config.image_token_id) != self._picture_tokens * len(self.cameras):
            raise WorkbenchError(
                f"the tokenizer of '{self.base.name}' does not know {family.picture} as its config does",
                "Take tokenizer and weights from the same release",
            )
        return ids


def _layers(cache: Any) -> tuple[tuple[Tensor, Tensor], ...]:
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def _tune(network: Any, decoder: Any, tuning: str, rank: int) -> dict[str, nn.Parameter]:
    """Freeze the base but for what is tuned; the parameters that are, by name."""
    network.requires_grad_(tuning == "full")
    if tuning == "lora":
        try:
            import peft  # noqa: PLC0415  (only for who tunes a language model)
        except ImportError as error:
            raise WorkbenchError(
                f"tuning a language model needs the Python package '{error.name}'", "Run: pip install peft"
            ) from None
        config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(_ADAPTED))
        peft.inject_adapter_in_model(config, decoder)
    found = {name: value for name, value in network.named_parameters() if value.requires_grad}
    for value in found.values():
        if tuning == "lora":
            value.data = value.data.float()  # a bfloat16 adapter would lose small steps
    return found
