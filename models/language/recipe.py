"""What a recipe of CLAP-NTP says about the language model it stands on. Free of torch, as all recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from workbench.core.errors import NotFoundError, WorkbenchError


@dataclass(frozen=True, kw_only=True)
class Thinking:
    """What CLAP-NTP thinks with.

    Attributes:
        backbone: ``keypoints``, the small one, or the family of a vision-language model: ``qwen3_vl``, ``smolvlm2``.
        backbone_folder: where that model lies, or ``hub:OWNER/NAME`` to fetch it once.
        picture_px: side of the square pictures it is shown.
        tuning, lora_rank: ``lora``, a low-rank adapter of this rank in every layer, or ``full``, all of its weights.
    """

    backbone: str = "keypoints"
    backbone_folder: str = ""
    picture_px: int = 224
    tuning: str = "lora"
    lora_rank: int = 16

    BACKBONES: ClassVar[tuple[str, ...]] = ("keypoints", "qwen3_vl", "smolvlm2")
    TUNINGS: ClassVar[tuple[str, ...]] = ("lora", "full")

    @property
    def in_language(self) -> bool:
        """Whether it stands on a vision-language model."""
        return self.backbone != "keypoints"

    def check_thinking(self) -> None:
        """WorkbenchError for words nobody knows, or a family without a model."""
        if self.backbone not in self.BACKBONES:
            raise NotFoundError.of("backbone", self.backbone, self.BACKBONES)
        if self.tuning not in self.TUNINGS:
            raise NotFoundError.of("way to tune a language model", self.tuning, self.TUNINGS)
        if self.in_language and not self.backbone_folder:
            raise WorkbenchError(
                f"the backbone {self.backbone} needs a model to stand on",
                "Name its folder: backbone_folder=DIR, or fetch one: backbone_folder=hub:OWNER/NAME",
            )
