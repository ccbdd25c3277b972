"""Weights, gradients and optimizer shared between processes: fully sharded data parallel."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.tensor import DTensor


def sharding_arguments(layers: list[nn.Module]) -> dict[str, Any]:
    """What transformers' TrainingArguments take for it.

    Args:
        layers: modules of one kind, each of which is gathered for its own forward pass alone.
    """
    names = sorted({type(layer).__name__ for layer in layers})
    return {"fsdp": True, "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": names}}


def allow_sharding_on_cpu() -> None:
    """Make accelerate shard on CPUs too, before its Accelerator is made.

    It shards on devices of a kind that it lists, CPUs not among them, and else copies the model to
    all processes without a word; torch's `fully_shard` itself runs anywhere.
    """
    state = PartialState()
    if state.distributed_type is DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def gather_weights(model: nn.Module) -> None:
    """Give a model its whole weights back; every process takes part."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                whole = nn.Parameter(parameter.full_tensor().detach().cpu())
                module._parameters[name] = whole
