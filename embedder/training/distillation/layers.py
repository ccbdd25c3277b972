"""A student out of its teacher: some of its layers, all else as it is (Sanh et al. 2019)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from embedder.errors import RequestError


def choose_layers(n_teacher: int, n_student: int) -> list[int]:
    """The teacher's layers that a student starts from, evenly spaced from the first to the last.

    Six of twelve are 0, 2, 4, 7, 9 and 11, as DistilBERT has them. A single layer is the first,
    whose input is the embeddings.

    Raises:
        RequestError: there are not as many, or none are asked for.
    """
    if not 1 <= n_student <= n_teacher:
        raise RequestError(
            f"{n_student} layers were asked for, and the teacher has {n_teacher}.",
            f"Give --layers a number from 1 to {n_teacher}.",
        )
    if n_student == 1:
        return [0]
    # As round does, a half goes to the even neighbour, in whole numbers.
    return [round(i * (n_teacher - 1) / (n_student - 1)) for i in range(n_student)]


def match_layers(kept: Sequence[int], n_teacher: int) -> list[int]:
    """For each layer of the student the layer of the teacher whose states it is to give.

    A layer does the work of those that were left out after it too: the layer that follows in the
    student then gets what it got in the teacher. The last one gives the teacher's last states.
    """
    return [*(after - 1 for after in kept[1:]), n_teacher - 1]


def take_layers(network: nn.Module, kept: Sequence[int]) -> nn.Module:
    """A copy of a Hugging Face network that has only some of its layers.

    Args:
        network: it has a `config`; heads come along.
        kept: numbers of the layers, in order.

    Raises:
        RequestError: its layers cannot be found by their number.
    """
    student = copy.deepcopy(network)
    layers = _layer_list(student)
    for number in reversed(range(len(layers))):
        if number not in kept:
            del layers[number]
    config = student.config
    kinds = getattr(config, "layer_types", None)
    config.num_hidden_layers = len(kept)  # type: ignore[union-attr]
    if isinstance(kinds, list):  # which layers look at the whole text, and which around a piece
        config.layer_types = [kinds[number] for number in kept]  # type: ignore[union-attr]
    return student


def _layer_list(network: nn.Module) -> nn.ModuleList:
    n_layers = int(network.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    lists = [m for m in network.modules() if isinstance(m, nn.ModuleList) and len(m) == n_layers]
    if not lists:
        raise RequestError(
            f"The {n_layers} layers of a {type(network).__name__} cannot be told apart.",
            "Name another teacher in --model.",
        )
    return lists[0]
