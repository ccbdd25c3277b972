"""`embedder distil --static`: a model of one vector a piece, out of a network and a corpus."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from embedder.checkpoint import Checkpoint, open_checkpoint
from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.errors import RequestError
from embedder.model_location import DEFAULT_MODEL
from embedder.pairs import ScoredPair, correlations, read_scored_pairs
from embedder.passages import BLOCK_CHARACTERS
from embedder.static_distillation import (
    Counts,
    TaughtTexts,
    count_pieces,
    encode_vocabulary,
    fit_table,
    make_table,
    sif_weights,
)
from embedder.static_table import StaticTable, write_static_model
from embedder.vectors import Rows
from indexes.durable import publish_folder
from jobs.corpus_texts import CorpusTexts
from jobs.output import check_new_folder
from jobs.progress import Progress
from jobs.text_sample import SampledText, TextSample
from jobs.working_folder import working_beside

WIDTH = 256
SMOOTHING = 1e-4
"""`a` of the weights a / (a + p): on STS-B dev .750, .786 and .788 with 1e-2, 1e-3 and 1e-4."""

SAMPLE = 10_000

N_TEXT_PAIRS = 20_000
TEXTS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class DistilStaticOptions:
    """What to distil, on what, and where to.

    Args:
        sources: Parquet files, folders, globs or URLs.
        out: the model folder, which must not be there.
        model: the teacher: `default`, a model folder, or a name on the hub.
        text: the columns with text; none to find the one there is.
        limit: only the first so many rows.
        width: components of a vector; None for 256, or as many as the teacher has if it has fewer.
        smoothing: `a` of the weights a / (a + p) by a piece's share p of the corpus.
        sample: documents to whose vectors the table is fitted; 0 for no fit.
        dev: Parquet of scored pairs by which teacher and student are measured.
        seed: of the sample.
        device: where the teacher runs; None for the best there is.
        threads: CPU threads of the teacher; None for all cores.
    """

    sources: Sequence[str]
    out: str | Path
    model: str = DEFAULT_MODEL
    text: Sequence[str] = ()
    limit: int | None = None
    width: int | None = None
    smoothing: float = SMOOTHING
    sample: int = SAMPLE
    dev: str | Path | None = None
    seed: int = 1
    device: str | None = None
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class DistilStaticSummary:
    """What was made.

    Args:
        folder: where the model is.
        model: the teacher.
        n_pieces: pieces with a vector.
        width: components of a vector.
        n_documents: documents read.
        n_tokens: pieces in them.
        n_fitted: texts to whose vectors the table was fitted.
        measures: those that are defined of `agreement`, the Spearman correlation of cosines between
            held-out texts with the teacher's cosines; and `spearman` and `teacher_spearman` on
            scored pairs.
        counts: rows left out, by reason.
        n_bytes: size of the folder.
        seconds: how long it took.
    """

    folder: Path
    model: str
    n_pieces: int
    width: int
    n_documents: int
    n_tokens: int
    n_fitted: int
    measures: dict[str, float]
    counts: dict[str, int] = field(default_factory=dict)
    n_bytes: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {**asdict(self), "folder": str(self.folder)}


def distil_static(
    options: DistilStaticOptions, progress: Progress | None = None
) -> DistilStaticSummary:
    """Make a static model, and write it; the folder appears when it is complete.

    Args:
        options: what, on what and where to.
        progress: told of what happens; silent by default.

    Raises:
        EmbedderError: see the subclasses. Then nothing has been written.
    """
    progress, started = progress or Progress(), time.monotonic()
    final = check_new_folder(options.out)
    progress.start_stage("opening")
    checkpoint = open_checkpoint(options.model)
    options = _check(options, checkpoint)
    corpus = CorpusTexts(options.sources, options.text, options.limit, progress)
    pairs = read_scored_pairs(options.dev) if options.dev is not None else []
    teacher = open_encoder(
        EncoderOptions(model=options.model, device=options.device, threads=options.threads),
        checkpoint=checkpoint,
    )
    with working_beside(final) as room:
        read = _read(corpus, teacher, options)
        table, held_out = _make(teacher, read, options, progress)
        progress.start_stage("writing")
        folder = room / "model"
        folder.mkdir()
        write_static_model(folder, table, checkpoint, _made(options, read, teacher))
        student = open_encoder(EncoderOptions(model=str(folder)))
        measures = _measure(teacher, student, read, held_out, pairs)
        check_new_folder(final)
        records = publish_folder(folder, final)
    return DistilStaticSummary(
        folder=final,
        model=options.model,
        n_pieces=table.n_pieces,
        width=table.width,
        n_documents=read.n_documents,
        n_tokens=int(read.pieces.sum()),
        n_fitted=sum(not text.is_held_out for text in read.texts),
        measures=measures,
        counts=dict(read.counts),
        n_bytes=sum(record.size for record in records.values()),
        seconds=time.monotonic() - started,
    )


def _check(options: DistilStaticOptions, checkpoint: Checkpoint) -> DistilStaticOptions:
    """The options with the width that is meant."""
    if checkpoint.is_static:
        raise RequestError(
            f"{options.model} is a static model already.", "Name a network in --model."
        )
    width = min(WIDTH, checkpoint.width) if options.width is None else options.width
    if not 1 <= width <= checkpoint.width:
        raise RequestError(
            f"A width of {width} was asked for, and vectors of {options.model} have "
            f"{checkpoint.width} components.",
            f"Give --width a number from 1 to {checkpoint.width}.",
        )
    if not options.smoothing > 0:
        raise RequestError(f"A smoothing of {options.smoothing} gives no weights.", "Give 1e-4.")
    if options.sample < 0:
        raise RequestError(f"A sample of {options.sample} documents is none.", "Give at least 0.")
    return replace(options, width=width)


@dataclass(frozen=True)
class _Read:
    """What the corpus gave."""

    pieces: Counts
    n_documents: int
    texts: list[SampledText]
    counts: Counter[str]


def _read(corpus: CorpusTexts, teacher: TextEncoder, options: DistilStaticOptions) -> _Read:
    """Counts of the corpus's pieces, and a uniform sample of its texts."""
    tokenizer, sample = teacher.tokenizer, TextSample(options.sample, options.seed)
    pieces, n_documents = np.zeros(tokenizer.n_pieces, dtype=np.int64), 0
    for texts in corpus():
        n_documents += len(texts)
        for text in texts:
            sample.offer(text)
        for block in _blocks(texts):
            pieces += count_pieces(tokenizer.encode(block), len(pieces))
    pieces[tokenizer.special_ids] = 0
    return _Read(pieces, n_documents, sample.texts(), corpus.counts)


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Lists of texts to tokenise at once; of a long text a stretch at a time."""
    parts = (
        text[start : start + BLOCK_CHARACTERS]
        for text in texts
        for start in range(0, len(text), BLOCK_CHARACTERS)
    )
    block, n_characters = list[str](), 0
    for part in parts:
        block.append(part)
        n_characters += len(part)
        if n_characters >= BLOCK_CHARACTERS:
            yield block
            block, n_characters = [], 0
    if block:
        yield block


def _make(
    teacher: TextEncoder, read: _Read, options: DistilStaticOptions, progress: Progress
) -> tuple[StaticTable, Rows]:
    """The table, and the teacher's vectors of the held-out texts."""
    assert options.width is not None
    tokenizer = teacher.tokenizer
    weights = sif_weights(read.pieces, tokenizer.special_ids, options.smoothing)
    progress.start_stage("encoding the vocabulary", tokenizer.n_pieces, "pieces")
    vocabulary = encode_vocabulary(teacher, progress.reach)
    [empty] = teacher.encode([""])
    table, projection = make_table(vocabulary, empty, weights, options.width)
    progress.start_stage("encoding a sample", len(read.texts), "texts")
    rows = _encode(teacher, [text.text for text in read.texts], progress)
    is_held_out = np.array([text.is_held_out for text in read.texts], dtype=np.bool_)
    if is_held_out.all():  # so few that there is nothing to fit
        return table, rows[is_held_out]
    progress.start_stage("fitting")
    pieces = tokenizer.encode([text.text for text in read.texts if not text.is_held_out])
    taught = TaughtTexts([teacher.cut(ids) for ids in pieces], rows[~is_held_out])
    return fit_table(table, taught, projection), rows[is_held_out]


def _encode(teacher: TextEncoder, texts: Sequence[str], progress: Progress) -> Rows:
    rows = np.empty((len(texts), teacher.encoder.spec.width), dtype=np.float32)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        rows[start : start + len(some)] = teacher.encode(some)
        progress.reach(start + len(some), len(texts))
    return rows


def _made(options: DistilStaticOptions, read: _Read, teacher: TextEncoder) -> dict[str, Any]:
    """How the model was made, for its config.json."""
    spec = teacher.encoder.spec
    return {
        "distilled": {
            "teacher": {"weights": spec.weights, "tokenizer": spec.tokenizer},
            "smoothing": options.smoothing,
            "n_documents": read.n_documents,
            "n_tokens": int(read.pieces.sum()),
            "n_fitted": sum(not text.is_held_out for text in read.texts),
            "seed": options.seed,
        }
    }


def _measure(
    teacher: TextEncoder,
    student: TextEncoder,
    read: _Read,
    held_out: Rows,
    pairs: Sequence[ScoredPair],
) -> dict[str, float]:
    measures = {}
    if len(held_out) > 1:
        texts = [text.text for text in read.texts if text.is_held_out]
        measures["agreement"] = agreement(student.encode(texts), held_out)
    if pairs:
        measures["spearman"] = correlate(student, pairs)
        measures["teacher_spearman"] = correlate(teacher, pairs)
    return {name: value for name, value in measures.items() if not math.isnan(value)}


def agreement(rows: Rows, reference: Rows) -> float:
    """Spearman correlation of the cosines of pairs of texts by two encoders.

    Args:
        rows: unit vectors of texts by one, shape (n_texts, width).
        reference: by the other, of any width.
    """
    chance = np.random.default_rng(1)
    first, second = chance.integers(0, len(rows), (2, N_TEXT_PAIRS))
    is_pair = first != second
    found, wanted = (
        np.einsum("ij,ij->i", side[first[is_pair]], side[second[is_pair]])
        for side in (rows, reference)
    )
    return correlations(found, wanted.tolist())["spearman"]


def correlate(encoder: TextEncoder, pairs: Sequence[ScoredPair]) -> float:
    """Spearman correlation of an encoder's cosines with people's scores."""
    first = encoder.encode([pair.text1 for pair in pairs])
    second = encoder.encode([pair.text2 for pair in pairs])
    cosines = np.einsum("ij,ij->i", first, second)
    return correlations(cosines, [pair.score for pair in pairs])["spearman"]
