"""Examples that are held out of training."""

from __future__ import annotations

import pytest

from embedder.errors import RequestError
from embedder.training.task import hold_out


def test_examples_with_much_in_common_are_on_one_side() -> None:
    """All examples are on one side each, and those of one key on the same; where all have one key,
    some are held out all the same."""
    examples = [(number % 20, number) for number in range(100)]
    train, held = hold_out(examples, 1, lambda example: example[0])
    assert sorted(train + held) == sorted(examples) and len(held) == 10
    assert not {key for key, _ in train} & {key for key, _ in held}
    train, held = hold_out(examples, 1, lambda _: None)
    assert sorted(train + held) == sorted(examples) and len(held) == 10


@pytest.mark.parametrize("seed", range(8))
def test_at_most_a_tenth_is_held_out(seed: int) -> None:
    """However unlike the groups are in size: all that is held out is a tenth, or the smallest
    group."""
    sizes = [3000, 20, 20, 20]
    examples = [(key, n) for key, size in enumerate(sizes) for n in range(size)]
    train, held = hold_out(examples, seed, lambda example: example[0])
    assert len(held) == 60 and len(train) == 3000
    few = [example for example in examples if example[1] < 20][10:]
    train, held = hold_out(few, seed, lambda example: example[0])
    assert {key for key, _ in held} == {0} and len(held) == 10


def test_one_example_cannot_be_held_out() -> None:
    """Of a single example there is nothing to train on."""
    with pytest.raises(RequestError, match="One example is not enough"):
        hold_out(["one"], 1)
