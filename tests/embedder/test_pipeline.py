"""Running ahead in a thread changes when items are made, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.pipeline import run_ahead


def wait_for(holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold within five seconds."""
    end = time.monotonic() + 5
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return holds()


class Source:
    """Counts from zero, and remembers how far it came and whether it was closed."""

    def __init__(self) -> None:
        self.n_made = 0
        self.is_closed = False

    def items(self) -> Iterator[int]:
        """The numbers from zero."""
        try:
            while True:
                self.n_made += 1
                yield self.n_made - 1
        finally:
            self.is_closed = True


@settings(max_examples=30)
@given(st.lists(st.none() | st.integers(), max_size=20), st.integers(1, 5))
def test_items_come_as_they_are_in_order(items: list[int | None], depth: int) -> None:
    """The items read are the items given, None included, in their order."""
    assert list(run_ahead(items, depth)) == items


@pytest.mark.parametrize("depth", [1, 3])
def test_the_source_runs_ahead_by_a_bounded_number(depth: int) -> None:
    """The source makes items before they are asked for, at most depth and one in hand."""
    source = Source()
    ahead = run_ahead(source.items(), depth)
    assert next(ahead) == 0
    assert wait_for(lambda: source.n_made == depth + 2)  # one read, depth queued, one in hand
    time.sleep(0.3)  # longer than the thread waits between two tries
    assert source.n_made == depth + 2
    ahead.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    """An error of the source is raised to the reader after the items made before it."""

    def items() -> Iterator[int]:
        yield from (1, 2)
        raise KeyError("the source's own")

    ahead = run_ahead(items(), 5)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="the source's own"):
        next(ahead)


def test_an_error_names_the_line_that_raised() -> None:
    """The traceback of an error reaches back into the source."""

    def failing_source() -> Iterator[int]:
        raise OSError("no more")
        yield 0

    with pytest.raises(OSError, match="no more") as raised:
        list(run_ahead(failing_source(), 1))
    assert "failing_source" in [entry.name for entry in raised.traceback]


def test_nothing_runs_before_the_first_item_is_asked_for() -> None:
    """Making the generator alone starts no thread."""
    source, before = Source(), threading.active_count()
    run_ahead(source.items(), 2)
    assert (source.n_made, threading.active_count()) == (0, before)


def test_closing_early_closes_the_source_and_ends_the_thread() -> None:
    """A reader that stops early leaves a closed source and no thread behind."""
    source, before = Source(), threading.active_count()
    ahead = run_ahead(source.items(), 2)
    next(ahead)
    assert threading.active_count() == before + 1
    ahead.close()
    assert source.is_closed
    assert threading.active_count() == before


def test_an_error_in_the_reader_closes_the_source() -> None:
    """A reader that raises inside its loop leaves a closed source and no thread behind."""
    source, before = Source(), threading.active_count()

    def read() -> None:
        for item in run_ahead(source.items(), 2):
            if item == 3:
                raise RuntimeError("the reader's own")

    with pytest.raises(RuntimeError, match="the reader's own"):
        read()
    assert wait_for(lambda: source.is_closed and threading.active_count() == before)


def test_stages_follow_each_other() -> None:
    """Closing the last of several chained stages closes the first source."""
    source = Source()
    last = run_ahead((2 * item for item in run_ahead(source.items(), 2)), 2)
    assert [next(last) for _ in range(4)] == [0, 2, 4, 6]
    last.close()
    assert wait_for(lambda: source.is_closed)


def test_stages_overlap() -> None:
    """The source makes the next item while the reader still holds the one before."""
    is_made = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        is_made.set()
        yield 1

    ahead = run_ahead(items(), 1)
    next(ahead)
    assert is_made.wait(5)
    assert list(ahead) == [1]
