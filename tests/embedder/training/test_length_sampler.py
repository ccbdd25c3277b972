"""Examples of like length come together, and each comes once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.training.length_sampler import LengthSampler

LENGTHS = st.lists(st.integers(1, 50), max_size=200)


@given(lengths=LENGTHS, batch=st.integers(1, 9), epoch=st.integers(0, 3))
def test_each_example_comes_once(lengths: list[int], batch: int, epoch: int) -> None:
    """In batches of which only the last may be short."""
    sampler = LengthSampler(lengths, batch, seed=1)
    sampler.set_epoch(epoch)
    batches = [numbers.tolist() for numbers in sampler.batches()]
    assert sorted(number for numbers in batches for number in numbers) == list(range(len(lengths)))
    assert all(len(numbers) == batch for numbers in batches[:-1])
    assert list(sampler) == [number for numbers in batches for number in numbers]
    assert len(sampler) == len(lengths)


@given(lengths=LENGTHS, batch=st.integers(1, 9))
def test_an_epoch_has_the_same_order_in_every_run(lengths: list[int], batch: int) -> None:
    """Whether or not epochs before it were gone through."""
    first, second = (LengthSampler(lengths, batch, seed=1) for _ in range(2))
    list(first)
    for sampler in (first, second):
        sampler.set_epoch(2)
    assert list(first) == list(second)


def test_little_is_padding_and_the_order_is_of_chance() -> None:
    """Of exponential lengths batches by chance are padded to thrice what is in them."""
    lengths = np.random.default_rng(1).exponential(20, 10_000).astype(int) + 1
    sampler = LengthSampler(lengths, 32, seed=1)
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append([numbers.tolist() for numbers in sampler.batches()])
    padded = sum(32 * lengths[numbers].max() for numbers in epochs[0][:-1])
    assert padded < 1.2 * lengths.sum()
    assert {frozenset(b) for b in epochs[0]}.isdisjoint({frozenset(b) for b in epochs[1]})
    longest = np.array([lengths[numbers].max() for numbers in epochs[0]])
    assert abs(np.corrcoef(longest[1:], longest[:-1])[0, 1]) < 0.3


def test_few_examples_come_in_other_company_too() -> None:
    """Of ten batches hardly any comes again, and the short one is not always of the longest."""
    sampler = LengthSampler(list(range(165)), 16, seed=1)
    epochs = []
    for epoch in range(20):
        sampler.set_epoch(epoch)
        epochs.append([numbers.tolist() for numbers in sampler.batches()])
    found = [frozenset(numbers) for batches in epochs for numbers in batches[:-1]]
    assert len(set(found)) > 0.95 * len(found)
    assert 40 < np.mean([numbers for batches in epochs for numbers in batches[-1:]]) < 125


@pytest.mark.parametrize("seed", [2, 3])
def test_seeds_give_other_orders(seed: int) -> None:
    """As many as there are seeds."""
    lengths = [1] * 100
    assert list(LengthSampler(lengths, 4, seed)) != list(LengthSampler(lengths, 4, 1))
