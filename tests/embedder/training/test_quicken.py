"""What makes training quick computes what was computed before."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    BertLMHeadModel,
    DistilBertConfig,
    EncoderDecoderModel,
    MPNetConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from embedder.training.quicken import QuickDropout, quicken

SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}
CONFIGS = [
    BertConfig(**SIZES),
    RobertaConfig(**SIZES),
    MPNetConfig(**SIZES),
    DistilBertConfig(vocab_size=20, dim=8, n_layers=2, n_heads=2, hidden_dim=8),
]
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_attention_is_whole_and_states_are_dropped_out(
    config: PreTrainedConfig, device: str
) -> None:
    """Of each layer the dropout of attention weights is off, and that of states is as it was."""
    model = AutoModel.from_config(config)
    quicken(model, device)
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert rates.count(0.0) == 2 and rates.count(0.1) == len(rates) - 2 >= 3


@pytest.mark.parametrize("config", CONFIGS)
def test_a_quickened_model_gives_the_same_states(config: PreTrainedConfig) -> None:
    """In evaluation nothing differs but rounding."""
    model = AutoModel.from_config(config).eval()
    with torch.no_grad():
        before = model(input_ids=IDS, attention_mask=MASK).last_hidden_state
        quicken(model, "cpu")
        after = model(input_ids=IDS, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(after[MASK == 1], before[MASK == 1], rtol=1e-4, atol=1e-5)


def test_no_part_of_an_encoder_and_decoder_keeps_fused_attention() -> None:
    """Its backward pass is many times slower on a CPU."""
    encoder = AutoModel.from_config(BertConfig(**SIZES))
    decoder = BertLMHeadModel(BertConfig(**SIZES, is_decoder=True, add_cross_attention=True))
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    quicken(model, "cpu")
    with torch.profiler.profile() as profile:
        model(input_ids=IDS, attention_mask=MASK, decoder_input_ids=IDS)
    calls = [event.key for event in profile.key_averages()]
    assert any("softmax" in name for name in calls)
    assert not any("scaled_dot_product" in name for name in calls)


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_leaves_out_a_share_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    """So many components are zero, the others scaled up, and gradients go where states went."""
    torch.manual_seed(1)
    states = torch.ones(1001, 101, dtype=dtype, requires_grad=True)
    out = QuickDropout(p)(states)
    assert out.dtype is dtype and out.shape == states.shape
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.006)  # 5 deviations
    assert out[out > 0].unique().float().tolist() == pytest.approx([1 / (1 - p)], rel=1e-2)
    out.sum().backward()
    assert states.grad is not None and torch.equal(states.grad, out.detach())


def test_dropout_is_drawn_anew_and_by_the_seed() -> None:
    """Neither rows nor calls share what is left out, and a seed gives it again."""
    dropout, states = QuickDropout(0.5), torch.ones(4, 64)
    torch.manual_seed(1)
    first, second = dropout(states), dropout(states)
    torch.manual_seed(1)
    assert torch.equal(dropout(states), first) and not torch.equal(first, second)
    assert len({tuple(row) for row in first.tolist()}) == 4


@pytest.mark.parametrize("p", [0.0, 1e-6, 1.0])
def test_dropout_of_nothing_and_of_all(p: float) -> None:
    """What 16 bits cannot tell from nothing is as torch does it."""
    out = QuickDropout(p)(torch.ones(50))
    torch.testing.assert_close(out, torch.full((50,), float(p < 1)))


def test_dropout_is_off_in_evaluation() -> None:
    """States come out as they went in."""
    states = torch.randn(5, 7)
    assert torch.equal(QuickDropout(0.5).eval()(states), states)
