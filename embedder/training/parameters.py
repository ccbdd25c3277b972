"""Which weights are trained: all, the upper layers, or low-rank updates (LoRA)."""

from __future__ import annotations

from torch import nn

from embedder.errors import RequestError
from embedder.training.devices import choose_device
from embedder.training.options import TrainingOptions
from embedder.training.quicken import quicken

LORA_SCALE = 2
"""Updates count `LORA_SCALE` times, whatever their rank (alpha = 2 r, as is usual)."""

LORA_DROPOUT = 0.05


def prepare_model(model: nn.Module, transformer: nn.Module, options: TrainingOptions) -> None:
    """Make a model ready to be trained as the options say.

    Args:
        model: all that is trained.
        transformer: the Hugging Face encoder in it; what stands outside of it is always trained.
        options: `freeze`, `lora` and `checkpointing` of them.

    Raises:
        RequestError: more layers are to be frozen than there are, or nothing is left to train.
    """
    choose_parameters(model, transformer, options)
    quicken(model, choose_device(options))
    if options.checkpointing:
        transformer.activation_checkpointing_enable()  # type: ignore[operator]


def choose_parameters(model: nn.Module, transformer: nn.Module, options: TrainingOptions) -> None:
    """Freeze what is not to be trained, and put low-rank updates beside what is.

    Args:
        model: all that is trained.
        transformer: the Hugging Face encoder in it; what stands outside of it is always trained.
        options: `freeze` and `lora` of them.

    Raises:
        RequestError: more layers are to be frozen than there are, or nothing is left to train.
    """
    layers = find_layers(transformer)
    check_freeze(options, len(layers))
    if options.freeze == len(layers) and (options.lora or not _has_more(model, transformer)):
        raise RequestError(
            f"All {len(layers)} layers are to be frozen, and nothing is left to train.",
            f"Give --freeze a number below {len(layers)}.",
        )
    if options.lora:
        _add_lora(transformer, layers[options.freeze :], options.lora)
    elif options.freeze:
        for module in (_embeddings(transformer), *layers[: options.freeze]):
            module.requires_grad_(False)


def check_freeze(options: TrainingOptions, n_layers: int) -> None:
    """Raise RequestError if more layers are to be frozen than there are."""
    if options.freeze > n_layers:
        raise RequestError(
            f"{options.freeze} layers are to be frozen, and the model has {n_layers}.",
            f"Give --freeze a number from 1 to {n_layers}.",
        )


def merge_lora(transformer: nn.Module) -> None:
    """Add low-rank updates to the weights that they are of, and take them out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(transformer.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(transformer.get_submodule(parent), child, module.get_base_layer())
    transformer.requires_grad_(True)


def find_layers(transformer: nn.Module) -> list[nn.Module]:
    """The layers of a transformer, the first first; they are its longest list of modules."""
    lists = [list(m) for m in transformer.modules() if isinstance(m, nn.ModuleList)]
    return max(lists, key=len, default=[])


def _has_more(model: nn.Module, transformer: nn.Module) -> bool:
    """Whether a model has weights to train outside of its transformer."""
    inside = {id(weight) for weight in transformer.parameters()}
    return any(w.requires_grad and id(w) not in inside for w in model.parameters())


def _embeddings(transformer: nn.Module) -> nn.Module:
    modules: dict[str, nn.Module] = dict(transformer.named_modules())
    return modules[next(name for name in modules if name.endswith("embeddings"))]


def _add_lora(transformer: nn.Module, layers: list[nn.Module], rank: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    inside = {id(module) for layer in layers for module in layer.modules()}
    names = [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and id(module) in inside
    ]
    config = LoraConfig(
        r=rank, lora_alpha=LORA_SCALE * rank, lora_dropout=LORA_DROPOUT, target_modules=names
    )
    inject_adapter_in_model(config, transformer)
