"""Folders with tiny networks of the very classes that the encoders open, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch


def save_tiny(kind: str, folder: Path, *, seed: int = 0, patch: int = 16, width: int = 16) -> Path:
    """A network of two layers; returns the folder."""
    import transformers

    torch.manual_seed(seed)
    sizes = {"hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "siglip":
        vision = {**sizes, "image_size": 32, "patch_size": patch}
        words = {
            "vocab_size": 20,
            "max_position_embeddings": 8,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        config = transformers.SiglipConfig(vision_config=vision, text_config=sizes | words)
        net = transformers.SiglipModel(config)
    elif kind == "dinov2":
        net = transformers.Dinov2Model(transformers.Dinov2Config(**sizes, image_size=32, patch_size=patch))
    else:
        config = transformers.DINOv3ViTConfig(**sizes, patch_size=patch, num_register_tokens=4)
        net = transformers.DINOv3ViTModel(config)
    net.save_pretrained(folder)
    return folder
