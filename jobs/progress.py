"""Progress on stderr: a live line on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TextIO

PLAIN_INTERVAL_SECONDS = 15.0
LIVE_INTERVAL_SECONDS = 0.2

LEAST_SHARE = 0.01
"""What has to be done before it says how long the rest takes; the first of all is the slowest."""


class Progress:
    """Counts what a job has done. This base is silent; the command line shows it.

    Args:
        n_documents_total: documents to do, once it is known.
    """

    def __init__(self) -> None:
        self.stage = ""
        self.n_documents_total = 0
        self.n_documents = 0
        self.unit = "documents"
        self.n_tokens = 0
        self.n_padded_tokens = 0
        self._n_tokens_before = 0
        self.started = self._counted_at = time.monotonic()

    def start_stage(self, name: str, n_documents_total: int = 0, unit: str = "documents") -> None:
        """A new part of the job begins."""
        self.stage, self.n_documents_total, self.unit = name, n_documents_total, unit
        self.n_documents = 0
        self._n_tokens_before = self.n_tokens
        self.started = self._counted_at = time.monotonic()
        self.show(force=True)

    def note(self, line: str) -> None:
        """Something that the user should see and keep; here, nobody does."""

    def count_tokens(self, n_tokens: int, n_padded: int) -> None:
        """A batch has been encoded."""
        self.n_tokens += n_tokens
        self.n_padded_tokens += n_padded
        self.show()

    def count_documents(self, n_documents: int) -> None:
        """Documents have been written."""
        self.n_documents += n_documents
        self._counted_at = time.monotonic()
        self.show()

    def reach(self, n_done: int, n_total: int) -> None:
        """So much of the stage is done."""
        self.n_documents, self.n_documents_total = n_done, n_total
        self._counted_at = time.monotonic()
        self.show()

    @property
    def padding_share(self) -> float:
        """Share of the encoded positions that was padding."""
        return 1 - self.n_tokens / self.n_padded_tokens if self.n_padded_tokens else 0.0

    def show(self, *, force: bool = False) -> None:
        """Tell the user; here, nobody."""

    def line(self) -> str:
        """The state in one line."""
        now = time.monotonic()
        seconds = max(now - self.started, 1e-9)
        if not self.n_documents_total:
            return self.stage
        parts = [f"{self.stage}: {self.n_documents:,} of {self.n_documents_total:,} {self.unit}"]
        if self.n_documents:
            # They may come many at a time: the rate is of those that came, up to the last of them.
            rate = self.n_documents / max(self._counted_at - self.started, 1e-9)
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
            left = (self.n_documents_total - self.n_documents) / rate - (now - self._counted_at)
            if left >= 0 and self.n_documents >= LEAST_SHARE * self.n_documents_total:
                parts.append(f"{_clock(left)} left")
        n_tokens = self.n_tokens - self._n_tokens_before
        if n_tokens:
            parts.insert(1, f"{n_tokens / seconds:,.0f} tokens/s")
            parts.insert(2, f"{self.padding_share:.0%} padding")
        return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class PlainProgress(Progress):
    """A line now and then, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown_at = 0.0
        super().__init__()

    def note(self, line: str) -> None:
        """Write the line."""
        print(line, file=self._stream, flush=True)

    def show(self, *, force: bool = False) -> None:
        """Write a line if the last one is old enough."""
        now = time.monotonic()
        if force or now - self._shown_at >= PLAIN_INTERVAL_SECONDS:
            self._shown_at = now
            print(self.line(), file=self._stream, flush=True)


@contextlib.contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Progress for the command line, on stderr: live, plain or silent."""
    if quiet:
        yield Progress()
    elif sys.stderr.isatty():
        with _live() as progress:
            yield progress
    else:
        yield PlainProgress(sys.stderr)


@contextlib.contextmanager
def _live() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        console=Console(stderr=True),
        transient=True,
    )

    class LiveProgress(Progress):
        def __init__(self) -> None:
            self._task = bar.add_task("")
            self._shown_at = 0.0
            super().__init__()

        def note(self, line: str) -> None:
            bar.console.print(line, markup=False, highlight=False)

        def show(self, *, force: bool = False) -> None:
            now = time.monotonic()
            if force or now - self._shown_at >= LIVE_INTERVAL_SECONDS:
                self._shown_at = now
                total = self.n_documents_total or None
                bar.update(
                    self._task, description=self.line(), total=total, completed=self.n_documents
                )

    with bar:
        yield LiveProgress()
