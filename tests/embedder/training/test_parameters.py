"""What of a model is trained, and how."""

from __future__ import annotations

import pytest
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from embedder.training.options import TrainingOptions
from embedder.training.parameters import prepare_model

SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


@pytest.mark.parametrize(
    "config",
    [
        BertConfig(**SIZES),
        RobertaConfig(**SIZES),
        MPNetConfig(**SIZES),
        DistilBertConfig(vocab_size=20, dim=8, n_layers=2, n_heads=2, hidden_dim=8),
    ],
)
def test_attention_is_whole_and_states_are_dropped_out(config: PreTrainedConfig) -> None:
    """Of each layer the dropout of attention weights is off, and that of states is as it was."""
    model = AutoModel.from_config(config)
    prepare_model(model, model, TrainingOptions())
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert rates.count(0.0) == 2 and rates.count(0.1) == len(rates) - 2 >= 3
