"""The best answer in a text of any length, by scores of where answers start and end."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedder.answer_spans import Scores, Span, best_span
from embedder.answer_windows import Window, WindowSpec, make_windows
from embedder.errors import EngineError, cause_of
from embedder.heads.linear import LinearHead
from embedder.tokens import Tokenizer, padded_length, plan_batches

States = npt.NDArray[np.float32]
"""States of the pieces of windows, shape (n, length, width)."""

START, END = 0, 1
"""Outputs of the layer: how well an answer starts at a piece, and how well one ends there."""

GROUP_QUESTIONS = 256
"""Questions whose windows are held at once."""


def has_segments(transformer: nn.Module) -> bool:
    """Whether a network tells the question from the text by segments, as BERT does."""
    takes = inspect.signature(transformer.forward).parameters
    n_segments = getattr(transformer.config, "type_vocab_size", None) or 0
    return "token_type_ids" in takes and n_segments >= 2


def window_states(
    transformer: nn.Module, piece_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor
) -> Tensor:
    """States of the pieces of windows, shape (n, length, width).

    Args:
        transformer: a Hugging Face encoder.
        piece_ids: int64, shape (n, length).
        attention_mask: int64, the same shape, 1 for a piece and 0 for padding.
        segment_ids: int64, the same shape, 0 for the question and 1 for the text.
    """
    segments = {"token_type_ids": segment_ids} if has_segments(transformer) else {}
    output = transformer(input_ids=piece_ids, attention_mask=attention_mask, **segments)
    states: Tensor = output.last_hidden_state
    return states


def collate_windows(
    windows: Sequence[Window], pad_id: int, length: int | None = None
) -> dict[str, Tensor]:
    """Windows as `window_states` takes them, padded to a length or to the longest of them."""
    length = length or padded_length(max(len(window.piece_ids) for window in windows))
    shape = (len(windows), length)
    piece_ids = np.full(shape, pad_id, dtype=np.int64)
    mask, segments = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, window in enumerate(windows):
        n_pieces = len(window.piece_ids)
        piece_ids[row, :n_pieces] = window.piece_ids
        mask[row, :n_pieces] = 1
        segments[row, :n_pieces] = window.segment_ids()
    return {
        "piece_ids": torch.from_numpy(piece_ids),
        "attention_mask": torch.from_numpy(mask),
        "segment_ids": torch.from_numpy(segments),
    }


class FoundSpan(NamedTuple):
    """The best answer that a text has: characters `start` to `end`, half-open, and by how much
    its score is above that of no answer; minus infinity where the text has no pieces."""

    start: int
    end: int
    margin: float


NOTHING = FoundSpan(0, 0, -math.inf)


@dataclass(frozen=True, kw_only=True)
class AnswerReader:
    """Finds answers.

    Args:
        transformer: pieces to states, on the device where it runs.
        layer: states to the scores START and END.
        tokenizer: text to pieces.
        spec: how texts are cut.
        most_pieces: of an answer.
        max_batch_tokens: padded pieces of one forward pass.
    """

    transformer: nn.Module
    layer: LinearHead
    tokenizer: Tokenizer
    spec: WindowSpec
    most_pieces: int
    max_batch_tokens: int

    def read(self, questions: Sequence[str], contexts: Sequence[str]) -> list[FoundSpan]:
        """The best answer to each question over all windows of its text.

        The score of no answer is the lowest that any window gives it, as in SQuAD 2.0's baseline.

        Raises:
            EngineError: torch failed, or a score is no number.
        """
        found: list[FoundSpan] = []
        for start in range(0, len(questions), GROUP_QUESTIONS):
            part = slice(start, start + GROUP_QUESTIONS)
            found += self._read_group(questions[part], contexts[part])
        return found

    def _read_group(self, questions: Sequence[str], contexts: Sequence[str]) -> list[FoundSpan]:
        windows = list(make_windows(self.tokenizer, questions, contexts, self.spec))
        best: dict[int, tuple[float, int]] = {}  # by row: the score, and the window's number
        spans: dict[int, Span] = {}
        nulls = np.full(len(questions), np.inf)
        for number, scores in self._scores(windows):
            window = windows[number]
            row, stretch = window.row, slice(window.first, window.first + window.n_context)
            nulls[row] = min(nulls[row], scores[0].sum())
            span = best_span(scores[stretch, START], scores[stretch, END], self.most_pieces)
            # Windows come by length; of equal spans the one of the first window counts.
            if span is not None and (-span.score, number) < best.get(row, (math.inf, 0)):
                best[row], spans[number] = (-span.score, number), span
        return [
            self._found(windows[best[row][1]], spans[best[row][1]], nulls[row])
            if row in best
            else NOTHING
            for row in range(len(questions))
        ]

    def _found(self, window: Window, span: Span, null: float) -> FoundSpan:
        start, end = window.characters(span.first, span.last)
        return FoundSpan(start, end, span.score - float(null))

    def _scores(self, windows: Sequence[Window]) -> Iterator[tuple[int, Scores]]:
        """Numbers of windows with the scores of their pieces, shape (length, 2).

        Batches hold windows of one padded length, and the layer is applied to one at a time, so
        that scores do not depend on what is read together.
        """
        lengths = [len(window.piece_ids) for window in windows]
        for indices, length in plan_batches(lengths, self.max_batch_tokens):
            batch = collate_windows([windows[i] for i in indices], self.tokenizer.pad_id, length)
            for number, states in zip(indices, self._states(batch), strict=True):
                scores = self.layer.scores(states)
                if not np.isfinite(scores).all():
                    raise EngineError(
                        "The network gave a score that is no number.",
                        "Use --precision fp32; if it is in use, the weights are damaged.",
                    )
                yield number, scores

    def _states(
        self, batch: dict[str, Tensor]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        device = next(self.transformer.parameters()).device
        try:
            with torch.no_grad():
                states = window_states(
                    self.transformer, **{name: part.to(device) for name, part in batch.items()}
                )
                found: States = states.float().cpu().numpy()
        except RuntimeError as error:  # out of memory is one of these
            raise EngineError(
                f"torch failed on a batch of {batch['piece_ids'].numel()} tokens: "
                f"{cause_of(error)}.",
                "Use a smaller --max-batch-tokens.",
            ) from error
        return found
