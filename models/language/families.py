"""The two families of vision-language models this program can think with, and what differs between them.

Both come from transformers; their own picture processors are not used, because those want torchvision or count pictures
into tiles. Letters: B rows, C cameras, L prompt tokens, P pixels per side, X numbers of a patch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_MARKS = str.maketrans({"<": " ", ">": " ", "|": " "})


class Family(Protocol):
    """One family.

    Attributes:
        kind: the word in recipes. title: what people read. model_type: the word in the base's ``config.json``.
        network: name of the class in transformers. picture: the token that stands for a part of a picture.
    """

    kind: str
    title: str
    model_type: str
    network: str
    picture: str

    def decoder(self, network: Any) -> nn.Module:
        """The language model inside: takes embeddings, gives hidden states, keeps keys and values."""

    def unit_px(self, config: Any) -> int:
        """Pixels per side of what becomes one token; a picture's side must be a multiple."""

    def prompt(self, cameras: Sequence[str], tokens: int, task: str, step: str) -> str:
        """Everything up to where the answer begins, ``tokens`` picture tokens per camera."""

    def pictures(self, config: Any, pictures_BC3PP: Tensor) -> dict[str, Tensor]:
        """Standardised pictures as the network wants them."""

    def places(self, network: Any, tokens_BL: Tensor, mask_BL: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """Where in the sentence (and picture) every token stands: (B, L), or (3, B, L) for time, row and column."""


class Qwen3Vl:
    """Qwen3-VL: a picture token is 2 x 2 patches, and tokens know row and column (multimodal rotary places)."""

    kind, title, model_type = "qwen3_vl", "Qwen3-VL", "qwen3_vl"
    network, picture = "Qwen3VLForConditionalGeneration", "<|image_pad|>"

    def decoder(self, network: Any) -> nn.Module:
        decoder: nn.Module = network.model.language_model
        return decoder

    def unit_px(self, config: Any) -> int:
        return int(config.vision_config.patch_size * config.vision_config.spatial_merge_size)

    def prompt(self, cameras: Sequence[str], tokens: int, task: str, step: str) -> str:
        shown = "".join(f"{name} camera: <|vision_start|>{self.picture * tokens}<|vision_end|>\n" for name in cameras)
        return f"<|im_start|>user\n{shown}{_asked(task, step)}<|im_end|>\n<|im_start|>assistant\n"

    def pictures(self, config: Any, pictures_BC3PP: Tensor) -> dict[str, Tensor]:
        """Patches in the order of the tokens they become; a still picture fills both frames of a patch."""
        vision = config.vision_config
        size, merge, frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        flat = pictures_BC3PP.flatten(0, 1)
        count, colours, px, _ = flat.shape
        side = px // size
        split = flat.view(count, colours, side // merge, merge, size, side // merge, merge, size)
        ordered = split.permute(0, 2, 5, 3, 6, 1, 4, 7)  # block row and column, patch row and column in it, then pixels
        patches = ordered[:, :, :, :, :, :, None].expand(*ordered.shape[:6], frames, size, size)
        grid = torch.tensor([[1, side, side]], device=flat.device).expand(count, 3)
        return {"pixel_values": patches.reshape(count * side * side, -1), "image_grid_thw": grid}

    def places(self, network: Any, tokens_BL: Tensor, mask_BL: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        kinds = (tokens_BL == network.config.image_token_id).int()
        grid = given["image_grid_thw"]
        found, _ = network.model.get_rope_index(tokens_BL, kinds, image_grid_thw=grid, attention_mask=mask_BL)
        places: Tensor = found
        return places


class SmolVlm2:
    """SmolVLM2: each picture as one tile (no splitting), squeezed by the connector's pixel shuffle."""

    kind, title, model_type = "smolvlm2", "SmolVLM2", "smolvlm"
    network, picture = "SmolVLMForConditionalGeneration", "<image>"

    def decoder(self, network: Any) -> nn.Module:
        decoder: nn.Module = network.model.text_model
        return decoder

    def unit_px(self, config: Any) -> int:
        return int(config.vision_config.patch_size * config.scale_factor)

    def prompt(self, cameras: Sequence[str], tokens: int, task: str, step: str) -> str:
        around = "<fake_token_around_image>"
        shown = "".join(f"{name} camera:{around}<global-img>{self.picture * tokens}{around}" for name in cameras)
        return f"<|im_start|>User:{shown}{_asked(task, step)}<end_of_utterance>\nAssistant:"

    def pictures(self, config: Any, pictures_BC3PP: Tensor) -> dict[str, Tensor]:
        return {"pixel_values": pictures_BC3PP}

    def places(self, network: Any, tokens_BL: Tensor, mask_BL: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        return (mask_BL.long().cumsum(dim=1) - 1).clamp_min(0)


FAMILIES: Mapping[str, Family] = MappingProxyType({family.kind: family for family in (Qwen3Vl(), SmolVlm2())})


def split_instruction(instruction: str) -> tuple[str, str]:
    """Task and, after a line break, the step at hand (or ""); signs that special tokens are made of are left out."""
    task, _, step = instruction.partition("\n")
    return " ".join(task.translate(_MARKS).split()), " ".join(step.translate(_MARKS).split())


def _asked(task: str, step: str) -> str:
    now = f"Step: {step}\n" if step else ""
    return f"Task: {task}\n{now}What does the arm do next?"
