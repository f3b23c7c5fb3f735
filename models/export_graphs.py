"""What is written as ONNX of every stage that can be: the network, real inputs, and this program's own answers.

A stage that can be written has one function in ``GRAPHS``. Graphs take one observation at a time (a batch of 1), as a
robot does. Letters: B = 1, C cameras, K clusters, F numbers, S state numbers, E instruction, N tokens, H steps, A = 7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import export_inputs
from models.act_vae import ActVaeModel, load_act_vae
from models.flow_head import RfNet, fixed_noise
from models.normalize import ActionScaler
from models.policy_model import PolicyModel, load_policy_model
from models.registry import ModelRecord
from models.token_head import NtpNet
from storage.layout import Home
from workbench.core.errors import WorkbenchError

_ROBOT = torch.ones(1, dtype=torch.bool)  # what is asked is a robot and no clip of a person
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Graph:
    """One network to write.

    Attributes:
        module: takes the inputs in their order, one row each, and gives the outputs in theirs.
        inputs: rows to compare on, by name; all of equal length.
        answer: what this program itself makes of one row (batch of 1), by output.
        source: where the rows come from, in words.
    """

    name: str
    module: nn.Module
    inputs: Arrays
    outputs: tuple[str, ...]
    answer: Callable[[list[Tensor]], Arrays]
    source: str


class _Physical(nn.Module):
    """Normalised chunks (1, H, A) to metres and radians relative to the pose at the start; the gripper stays."""

    def __init__(self, scaler: ActionScaler) -> None:
        super().__init__()
        if scaler.published:
            raise WorkbenchError(
                "models on an imported codec are not written as ONNX: their rotations are counted in another way",
                "Export without --onnx",
            )
        self.register_buffer("middle_H6", torch.from_numpy(scaler.middle_H6).float())
        self.register_buffer("half_H6", torch.from_numpy(scaler.half_H6).float())

    middle_H6: Tensor  # noqa: N815
    half_H6: Tensor  # noqa: N815

    def forward(self, chunk_BHA: Tensor) -> Tensor:
        return torch.cat([chunk_BHA[..., :6] * self.half_H6 + self.middle_H6, chunk_BHA[..., 6:]], dim=-1)


class _FlowGraph(nn.Module):
    """CLAP-RF: features, state and instruction to a chunk, from the noise and by the Euler steps of the live policy."""

    def __init__(self, model: PolicyModel, rf: RfNet) -> None:
        super().__init__()
        self.rf, self.steps, self.physical = rf, model.euler_steps, _Physical(model.scaler)
        size = rf.ntp.backbone.size
        self.register_buffer("noise", fixed_noise(size.horizon, size.action))

    noise: Tensor

    def forward(self, features: Tensor, state: Tensor, instruction: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.rf.ntp.see(features, state, instruction, _ROBOT)
        chunk = self.rf.flow.draw(seen, self.noise, self.steps)
        return chunk, self.physical(chunk)


class _TokenGraph(nn.Module):
    """CLAP-NTP: features, state and instruction to the most likely tokens and the chunk that they stand for."""

    def __init__(self, model: PolicyModel) -> None:
        super().__init__()
        self.ntp, self.codec, self.physical = model.ntp, model.codec.net, _Physical(model.scaler)

    def forward(self, features: Tensor, state: Tensor, instruction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.ntp.see(features, state, instruction, _ROBOT)
        tokens = self.ntp.head.greedy(seen.feature_BD)
        chunk = self.codec.decode(tokens)
        return tokens, chunk, self.physical(chunk)


class _DecoderGraph(nn.Module):
    """Act-VAE: tokens to the chunk that they stand for."""

    def __init__(self, model: ActVaeModel) -> None:
        super().__init__()
        self.net, self.physical = model.net, _Physical(model.scaler)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        chunk = self.net.decode(tokens)
        return chunk, self.physical(chunk)


def _small(folder: Path) -> PolicyModel:
    """A policy on colour clusters. WorkbenchError for one on a language model: its base has exporters of its own."""
    model = load_policy_model(folder)
    if not isinstance(model.ntp, NtpNet):
        raise WorkbenchError("a policy on a language model has no ONNX form here", "Export it without ONNX")
    return model


def _rf(home: Home, record: ModelRecord, folder: Path) -> tuple[Graph, ...]:
    model = _small(folder)
    if (rf := model.rf) is None:
        raise WorkbenchError("the model has no flow head", "Choose a CLAP-RF model")
    inputs, source = export_inputs.observations(home, record, model)
    graph = _FlowGraph(model, rf)

    def answer(row: list[Tensor]) -> Arrays:
        features, state, instruction = row
        seen = rf.ntp.see(features, state, instruction, _ROBOT)
        chunk = rf.flow.draw(seen, graph.noise, model.euler_steps).numpy()
        return {"chunk": chunk, "actions": model.scaler.invert(chunk)}

    decoder = _decoder(model.codec, model, inputs, source)
    return Graph("clap_rf", graph, inputs, ("chunk", "actions"), answer, source), decoder


def _ntp(home: Home, record: ModelRecord, folder: Path) -> tuple[Graph, ...]:
    model = _small(folder)
    inputs, source = export_inputs.observations(home, record, model)

    def answer(row: list[Tensor]) -> Arrays:
        features, state, instruction = row
        seen = model.ntp.see(features, state, instruction, _ROBOT)
        tokens = model.ntp.head.greedy(seen.feature_BD)
        chunk = model.codec.net.decode(tokens).numpy()
        return {"tokens": tokens.numpy(), "chunk": chunk, "actions": model.scaler.invert(chunk)}

    graph = Graph("clap_ntp", _TokenGraph(model), inputs, ("tokens", "chunk", "actions"), answer, source)
    return graph, _decoder(model.codec, model, inputs, source)


def _act_vae(home: Home, record: ModelRecord, folder: Path) -> tuple[Graph, ...]:
    model = load_act_vae(home, record.id)
    tokens, source = export_inputs.tokens(home, record, model)
    return (_tokens_graph(model, tokens, source),)


def _decoder(codec: ActVaeModel, model: PolicyModel, inputs: Arrays, source: str) -> Graph:
    """The decoder on the tokens that the policy itself would say."""
    features, state, said = (torch.from_numpy(inputs[name]) for name in ("features", "state", "instruction"))
    seen = model.ntp.see(features, state, said, _ROBOT.expand(len(features)))
    return _tokens_graph(codec, model.ntp.head.greedy(seen.feature_BD).numpy(), source)


def _tokens_graph(codec: ActVaeModel, tokens: NDArray[np.int64], source: str) -> Graph:
    def answer(row: list[Tensor]) -> Arrays:
        chunk = codec.net.decode(row[0]).numpy()
        return {"chunk": chunk, "actions": codec.scaler.invert(chunk)}

    return Graph("act_vae_decoder", _DecoderGraph(codec), {"tokens": tokens}, ("chunk", "actions"), answer, source)


GRAPHS: Mapping[str, Callable[[Home, ModelRecord, Path], tuple[Graph, ...]]] = MappingProxyType(
    {"act_vae": _act_vae, "ntp": _ntp, "rf": _rf}
)
