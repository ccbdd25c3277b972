"""Documents to passages: what fits the encoder is one passage, what does not becomes several.

The law that everything relies on: a passage is a stretch of its document's text, and its vector
is the encoder's vector of that stretch. So a passage can be cached, compared and shown by its text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embedder.errors import DocumentTooLongError, RequestError
from embedder.specs import ChunkSpec, Overflow
from embedder.tokens import Pieces, PieceSpans, Tokenizer

BLOCK_CHARACTERS = 100_000
"""Longest stretch tokenised at once; a longer document is taken block by block, so that one
enormous document needs no more memory than a large one."""

LEAST_ROOM = 4
"""Tokens of text that a window must have room for beside a prompt."""

FAST_CHARACTERS_PER_TOKEN = 40
"""A text with more characters than this times the window goes the careful way from the start."""


@dataclass(frozen=True)
class Passage:
    """A stretch of a document that fits the encoder.

    Args:
        document: position of the document in the sequence that was cut.
        start: first character in the document.
        end: one past the last character.
        pieces: piece ids with prompt and special tokens.
        spans: where they stand in prompt and stretch together, if it is known without more work.
    """

    document: int
    start: int
    end: int
    pieces: Pieces
    spans: PieceSpans | None = None


@dataclass(frozen=True)
class Cut:
    """The passages of some documents.

    Args:
        passages: in the order of the documents and of the text.
        n_windowed: documents that became several passages.
        n_truncated: documents whose end was cut off because the user asked for it.
    """

    passages: list[Passage]
    n_windowed: int
    n_truncated: int


def cut_documents(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    spec: ChunkSpec,
    *,
    prompt: str,
    ids: Sequence[str],
    with_spans: bool = False,
) -> Cut:
    """Cut documents into passages.

    Args:
        texts: the documents, none blank.
        tokenizer: the encoder's.
        spec: window, stride and what to do with a document that is too long.
        prompt: text put before each passage; counts towards the window.
        ids: the documents' ids, for the error message.
        with_spans: also say where the pieces of documents that are one passage stand.

    Raises:
        DocumentTooLongError: a document is too long and `spec` asks for an error.
    """
    _check_prompt(tokenizer, spec, prompt)
    passages: list[Passage] = []
    n_windowed = n_truncated = 0
    short = [i for i, text in enumerate(texts) if len(text) <= _fast_limit(spec)]
    whole = dict(
        zip(short, _encode([prompt + texts[i] for i in short], tokenizer, with_spans), strict=True)
    )
    for i, text in enumerate(texts):
        pieces, spans = whole.get(i, (None, None))
        if pieces is not None and len(pieces) <= spec.window:
            passages.append(Passage(i, 0, len(text), pieces, spans))
            continue
        if spec.overflow is Overflow.ERROR:
            raise DocumentTooLongError(
                f"Document {ids[i]!r} is longer than the window of {spec.window} tokens.",
                "Use --overflow window to cut such documents into overlapping passages, or "
                "--overflow truncate to drop their ends.",
            )
        windows = _windows(text, tokenizer, spec, prompt)
        if spec.overflow is Overflow.TRUNCATE:
            start, end, first = next(windows)
            n_truncated += end < len(text.rstrip())
            passages.append(Passage(i, start, end, first))
            continue
        found = [Passage(i, *window) for window in windows]
        n_windowed += len(found) > 1
        passages += found
    return Cut(passages, n_windowed, n_truncated)


def _encode(
    texts: Sequence[str], tokenizer: Tokenizer, with_spans: bool
) -> Sequence[tuple[Pieces, PieceSpans | None]]:
    if with_spans:
        return tokenizer.encode_with_spans(texts)
    return [(pieces, None) for pieces in tokenizer.encode(texts)]


def _check_prompt(tokenizer: Tokenizer, spec: ChunkSpec, prompt: str) -> None:
    [around] = tokenizer.encode([prompt])
    if prompt and spec.window - len(around) < LEAST_ROOM:
        raise RequestError(
            f"The passage prompt {prompt!r} takes {len(around)} of the window's {spec.window} "
            "tokens, which leaves no room for text.",
            "Give a shorter --passage-prompt or a larger --window.",
        )


def _fast_limit(spec: ChunkSpec) -> int:
    return min(BLOCK_CHARACTERS, FAST_CHARACTERS_PER_TOKEN * spec.window)


def _windows(
    text: str, tokenizer: Tokenizer, spec: ChunkSpec, prompt: str
) -> Iterator[tuple[int, int, Pieces]]:
    """Overlapping stretches (start, end, pieces) that cover every piece of the text."""
    n_around = tokenizer.n_special + len(tokenizer.encode_with_offsets(prompt).ids)
    room = max(1, spec.window - n_around)
    stride = min(spec.stride, room)
    base, is_empty = 0, True
    while base < len(text):
        block = text[base : base + BLOCK_CHARACTERS]
        is_last_block = base + len(block) == len(text)
        starts, ends, word_starts = _piece_spans(block, tokenizer)
        n_pieces, first, next_base = len(starts), 0, base + len(block)
        if len(block) == len(text) and n_pieces <= room:  # many characters, few pieces
            [pieces] = tokenizer.encode([prompt + text])
            if len(pieces) <= spec.window:
                yield 0, len(text), pieces
                return
        while first < n_pieces:
            last = _cut_before(word_starts, first, first + room)
            start, end = base + starts[first], base + ends[last - 1]
            end, pieces = _fit(text, start, end, tokenizer, spec, prompt)
            yield start, end, pieces
            is_empty = False
            covered = bisect_right(ends, end - base)
            if covered >= n_pieces:
                break
            target = _cut_before(word_starts, first, first + stride)
            if is_last_block and n_pieces - target < room:
                # The last window reaches back to be a full one: more context for the tail.
                target = _cut_after(word_starts, n_pieces - room)
            first = max(first + 1, min(target, covered))
            if not is_last_block and first + room >= n_pieces and starts[first] > 0:
                next_base = base + starts[first]  # this window goes on in the next block
                break
        base = next_base
    if is_empty:
        [pieces] = tokenizer.encode([prompt])
        yield 0, len(text), pieces[: spec.window]


def _piece_spans(block: str, tokenizer: Tokenizer) -> tuple[list[int], list[int], list[bool]]:
    """Start and end offsets of the pieces of a block, and whether each starts a word."""
    encoding = tokenizer.encode_with_offsets(block)
    starts, ends, word_starts = [], [], []
    previous: int | None = None
    for (start, end), word in zip(encoding.offsets, encoding.word_ids, strict=True):
        if end <= start:
            continue
        starts.append(start)
        ends.append(end)
        word_starts.append(word is None or word != previous)
        previous = word
    return starts, ends, word_starts


def _cut_before(word_starts: list[bool], first: int, limit: int) -> int:
    """The largest cut at most `limit` that splits no word, or `limit` if one word fills all."""
    if limit >= len(word_starts):
        return len(word_starts)
    cut = limit
    while cut > first + 1 and not word_starts[cut]:
        cut -= 1
    return cut if word_starts[cut] else limit


def _cut_after(word_starts: list[bool], limit: int) -> int:
    """The smallest word start that is at least `limit`, or `limit` if there is none."""
    limit = max(0, limit)
    cut = limit
    while cut < len(word_starts) and not word_starts[cut]:
        cut += 1
    return cut if cut < len(word_starts) else limit


def _fit(
    text: str, start: int, end: int, tokenizer: Tokenizer, spec: ChunkSpec, prompt: str
) -> tuple[int, Pieces]:
    """Tokenise a stretch on its own, shortened until it fits.

    A stretch taken out of its text can have a piece more than it had inside it, because a word
    that was cut, or a lost leading space, is tokenised differently.
    """
    while True:
        [pieces] = tokenizer.encode([prompt + text[start:end]])
        if len(pieces) <= spec.window or end - start <= 1:
            return end, pieces[: spec.window]
        end = max(start + 1, start + (end - start) * spec.window // (len(pieces) + 1))
