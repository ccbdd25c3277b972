"""What a build would do: sources, columns, encoder and chunking, checked before it writes.

What the user leaves open is as the index was built, and the default for a new one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedder.checkpoint import Checkpoint, open_checkpoint
from embedder.columns import ColumnRequest
from embedder.corpus import Corpus, Shard, open_corpus, read_shards
from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.errors import (
    IndexFormatError,
    IndexMismatchError,
    IndexNotFoundError,
    ModelError,
    OutputError,
    RequestError,
    SourceError,
)
from embedder.heads.protocol import HEAD_FILE
from embedder.model_location import DEFAULT_MODEL
from embedder.specs import ChunkSpec, EncoderSpec, Overflow, Precision
from indexes.durable import temporary_beside
from indexes.layout import INDEX_ENDING, Layout
from indexes.manifest import Contract, Manifest, StructureKind
from indexes.manifest_file import read_manifest
from indexes.structures import EXACT_LIMIT, choose_structures
from jobs.source_labels import read_labels

DEFAULT_CONTRACT = Contract(recall=0.95, memory=4 << 30)
DEFAULT_MOST_USES = 10_000
CALIBRATION_TEXTS = 250
CALIBRATION_SHARDS = 25
SEED = 1729


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What to index, where to, and how. None means: as the index was built, else the default.

    Args:
        sources: files, folders, globs and URLs.
        out: the index folder; default `<stem>.index` in the working folder.
        columns: columns that the user named.
        encoder: how to encode; its `max_tokens` is the window.
        overflow: what happens to a document longer than the window; default `window`.
        stride: tokens from one window's start to the next; default 7/8 of the window.
        limit: index only so many rows.
        add: keep documents that the sources do not hold any more; a document with the id of a
            new one gives way to it.
        undelete: bring back what was deleted on request and is in the sources; forgets all
            deletions, so it does not go with `add`.
        recall: least recall@10 of the FAISS structure; default .95.
        memory: most bytes for building it and searching it; default 4 GiB.
        structure: the kind of FAISS structure; default the best that the contract allows.
        senses: whether to keep the uses of words for word senses; default yes.
        most_uses: of one word that are kept; default 10,000.
        exact_limit: most passages for which the FAISS structure is exact.
    """

    sources: tuple[str, ...]
    out: str | Path | None = None
    columns: ColumnRequest = field(default_factory=ColumnRequest)
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    overflow: Overflow | None = None
    stride: int | None = None
    limit: int | None = None
    add: bool = False
    undelete: bool = False
    recall: float | None = None
    memory: int | None = None
    structure: StructureKind | None = None
    senses: bool | None = None
    most_uses: int | None = None
    exact_limit: int = EXACT_LIMIT


@dataclass(frozen=True)
class Plan:
    """A build that has been checked and is ready to run.

    Args:
        layout: where the index lies or will lie.
        corpus: the sources.
        shards: what is to be indexed, in order.
        encoder: the encoder, running.
        chunking: how documents become passages.
        calibration: the texts that calibrated int8.
        contract: what the FAISS structure has to keep.
        before: the committed state, None for a new index.
        most_uses: of one word that are kept for word senses; 0 for none.
    """

    layout: Layout
    corpus: Corpus
    shards: list[Shard]
    encoder: TextEncoder
    chunking: ChunkSpec
    calibration: list[str]
    contract: Contract
    before: Manifest | None
    most_uses: int


def plan_build(options: BuildOptions) -> Plan:
    """Check everything that can be checked before anything is written."""
    layout = Layout(Path(options.out) if options.out else default_out(options.sources))
    before = read_before(layout)
    labels = read_labels(layout, before, are_kept=options.add)
    corpus = open_corpus(options.sources, _columns(options, before), labels)
    contract = _contract(options, before)
    cap = _most_uses(options, before, layout)
    if options.add and options.undelete:
        raise RequestError(
            "--undelete brings back what all sources hold, and --add names only some of them.",
            "Give --undelete with all sources and without --add.",
        )
    if options.limit is not None and options.limit < 1:
        raise RequestError(f"--limit {options.limit} leaves nothing to index.", "Give at least 1.")
    shards = corpus.shards(options.limit)
    checkpoint, encoder_options = _encoder_options(options, before)
    _check_no_head(checkpoint)
    # Before the engine opens, which may export the model for nothing.
    if before is not None:
        spec = encoder_options.spec(
            checkpoint, encoder_options.precision or before.encoder.precision
        )
        spec = replace(spec, calibration=before.encoder.calibration)
        _check_same(before, spec, _chunking(options, before, spec), corpus, layout)
    elif not _has_document(corpus, shards):
        raise SourceError(
            f"The column {corpus.columns.text!r} of {corpus.sources[0].file.name} holds no text: "
            "every value is null or blank.",
            "Name another column with --text.",
        )
    precision = encoder_options.precision or Precision.FP32  # which does not change the width
    width = encoder_options.spec(checkpoint, precision).width
    _check_memory(shards, width, contract, before, options.exact_limit)
    calibration = _Calibration(layout, before, corpus, shards)
    encoder = open_encoder(encoder_options, checkpoint=checkpoint, calibration=calibration)
    spec = encoder.encoder.spec
    chunking = _chunking(options, before, spec)
    if before is not None:
        _check_same(before, spec, chunking, corpus, layout)
    return Plan(layout, corpus, shards, encoder, chunking, calibration.texts, contract, before, cap)


def _contract(options: BuildOptions, before: Manifest | None) -> Contract:
    """The contract asked for; what was not is as the index was built, else the default."""
    old = before.contract if before else DEFAULT_CONTRACT
    recall = old.recall if options.recall is None else options.recall
    memory = old.memory if options.memory is None else options.memory
    if not 0 < recall <= 1:
        raise RequestError(f"A recall of {recall} is not between 0 and 1.", "Give .95, say.")
    if memory < 1:
        raise RequestError(f"A memory of {memory} bytes holds nothing.", "Give 4G, say.")
    return Contract(recall=recall, memory=memory, structure=options.structure or old.structure)


def _check_memory(
    shards: Sequence[Shard],
    width: int,
    contract: Contract,
    before: Manifest | None,
    exact_limit: int,
) -> None:
    """Raise RequestError if no structure over a vector for each row can be built.

    An index that keeps its contract is built already, but for what is new.
    """
    if before is None or before.contract != contract or not before.generations:
        n_rows = sum(shard.n_rows for shard in shards)
        choose_structures(n_rows, width, contract, exact_limit=exact_limit)


def _check_no_head(checkpoint: Checkpoint) -> None:
    """Raise ModelError if a model was trained to answer: its vectors serve its head alone."""
    if (checkpoint.folder / HEAD_FILE).exists():
        raise ModelError(
            f"{checkpoint.name} is a head: it answers for texts, and makes no vectors for search.",
            "Use it with embedder predict, or name the encoder that it was trained from.",
        )


def _most_uses(options: BuildOptions, before: Manifest | None, layout: Layout) -> int:
    """Most uses of a word that are kept; as the index was built, and 10,000 in a new one."""
    if options.most_uses is not None and options.senses is False:
        raise RequestError(
            "--no-senses keeps no uses of words, and --most-uses says how many.",
            "Leave one of them out.",
        )
    if before is None:
        return 0 if options.senses is False else options.most_uses or DEFAULT_MOST_USES
    old = before.basis.cap if before.basis else 0
    new = options.most_uses or (old if options.senses is None else options.senses and old)
    if new != old or (options.senses and not old):
        had, wanted = (
            f"with senses (at most {cap:,} uses of a word)" if cap else "without senses"
            for cap in (old, new or (DEFAULT_MOST_USES if options.senses else 0))
        )
        raise IndexMismatchError(
            f"{layout.root} was built {had}, and now it would be {wanted}.",
            "Leave the option out to keep the index as it was built, choose another --out, or "
            f"remove {layout.root} to build it anew.",
        )
    return old


def default_out(sources: Sequence[str]) -> Path:
    """`<stem>.index` in the working folder, after the first source."""
    name = sources[0].rstrip("/").rpartition("/")[2]
    stem = Path(name).stem.strip("*?[]{}._- ") or "corpus"
    return Path(f"{stem}{INDEX_ENDING}")


def _columns(options: BuildOptions, before: Manifest | None) -> ColumnRequest:
    """The columns asked for; where nothing was, those of the index that is there."""
    if before is None:
        return options.columns
    asked = options.columns
    return ColumnRequest(
        text=before.text if asked.text is None else asked.text,
        id=before.id if asked.id is None else asked.id,
        metadata=before.metadata if asked.metadata is None else asked.metadata,
        is_metadata_required=asked.metadata is not None,
    )


def read_before(layout: Layout) -> Manifest | None:
    """The committed state, None where an index can be made.

    Raises:
        OutputError: the folder holds something else.
    """
    if layout.root.exists() and not layout.root.is_dir():
        raise OutputError(
            f"{layout.root} is a file, and a folder is wanted.", "Choose another --out."
        )
    try:
        manifest = read_manifest(layout)
    except IndexNotFoundError:
        files = {layout.lock, layout.readers, layout.calibration}
        files |= {layout.segments, layout.senses, layout.deleted}
        files |= {temporary_beside(path) for path in (layout.calibration, layout.manifest)}
        own = {path.name for path in files}
        entries = list(layout.root.iterdir()) if layout.root.exists() else []
        foreign = [path.name for path in entries if path.name not in own]
        if foreign:
            raise OutputError(
                f"{layout.root} holds something else than an index ({sorted(foreign)[0]}).",
                "Choose another --out, or an empty folder.",
            ) from None
        return None
    # A build that ended before its first segment binds nobody to its settings.
    return manifest if manifest.segments else None


def _encoder_options(
    options: BuildOptions, before: Manifest | None
) -> tuple[Checkpoint, EncoderOptions]:
    """The model and how to run it: as asked, and as the index was built where nothing was."""
    asked = options.encoder
    if before is None:
        return open_checkpoint(asked.model or DEFAULT_MODEL), asked
    spec = before.encoder
    merged = replace(
        asked,
        model=asked.model or spec.model,
        precision=asked.precision or spec.precision,
        pooling=asked.pooling or spec.pooling,
        layers=asked.layers or spec.layers,
        max_tokens=asked.max_tokens or spec.max_tokens,
        query_prompt=spec.query_prompt if asked.query_prompt is None else asked.query_prompt,
        passage_prompt=spec.passage_prompt
        if asked.passage_prompt is None
        else asked.passage_prompt,
    )
    return open_checkpoint(asked.model or spec.model), merged


def _chunking(options: BuildOptions, before: Manifest | None, spec: EncoderSpec) -> ChunkSpec:
    window = spec.max_tokens
    old = before.chunking if before else None
    stride = options.stride or (
        old.stride if old and old.window == window else window - window // 8
    )
    if not 1 <= stride <= window:
        raise RequestError(
            f"A stride of {stride} tokens does not fit a window of {window}.",
            f"Give --stride a number from 1 to {window}.",
        )
    overflow = options.overflow or (old.overflow if old else Overflow.WINDOW)
    return ChunkSpec(overflow=overflow, window=window, stride=stride)


def _check_same(
    before: Manifest, spec: EncoderSpec, chunking: ChunkSpec, corpus: Corpus, layout: Layout
) -> None:
    """Raise IndexMismatchError unless the index was built with these settings."""
    columns = corpus.columns
    pairs = [
        *_differences(before.encoder.to_json(), spec.to_json(), skip=("model",)),
        *_differences(before.chunking.to_json(), chunking.to_json()),
        *_differences(
            {"text": before.text, "id": before.id, "metadata": list(before.metadata)},
            {"text": columns.text, "id": columns.id, "metadata": list(columns.metadata)},
        ),
    ]
    if pairs:
        name, old, new = pairs[0]
        raise IndexMismatchError(
            f"{layout.root} was built with {SETTINGS.get(name, name)} {_shown(old)}, and now it "
            f"would be {_shown(new)}.",
            "Leave the option out to keep the index as it was built, choose another --out, or "
            f"remove {layout.root} to build it anew.",
        )


SETTINGS = {
    "weights": "a model whose digest is",
    "tokenizer": "a tokenizer whose digest is",
    "max_tokens": "a model that reads tokens up to",
    "width": "vectors of width",
    "calibration": "int8 calibrated by texts whose digest is",
    **{
        name: f"--{name.replace('_', '-')}"
        for name in (
            *("pooling", "layers", "precision", "query_prompt", "passage_prompt"),
            *("overflow", "window", "stride", "text", "id", "metadata"),
        )
    },
}
"""Settings of an index as the user knows them: by the options, where there is one."""


def _differences(
    old: dict[str, Any], new: dict[str, Any], skip: Sequence[str] = ()
) -> Iterator[tuple[str, Any, Any]]:
    return ((k, old[k], new[k]) for k in old if k not in skip and old[k] != new[k])


def _shown(value: Any) -> str:
    return repr(str(value)) if isinstance(value, str) else str(value)


def _has_document(corpus: Corpus, shards: Sequence[Shard]) -> bool:
    with closing(read_shards(shards, corpus)) as batches:
        return any(rows.ids for rows in batches)


class _Calibration:
    """The corpus's own texts for int8: those of the index, else a sample over all shards."""

    def __init__(
        self, layout: Layout, before: Manifest | None, corpus: Corpus, shards: Sequence[Shard]
    ) -> None:
        self._layout, self._before = layout, before
        self._corpus, self._shards = corpus, shards
        self.texts: list[str] = []

    def __call__(self) -> Sequence[str]:
        if self._before is not None and self._before.calibration is not None:
            self.texts = _read_calibration(self._layout)
        else:
            self.texts = sample_texts(self._corpus, self._shards, CALIBRATION_TEXTS)
        return self.texts


def _read_calibration(layout: Layout) -> list[str]:
    try:
        texts: list[str] = json.loads(layout.calibration.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise IndexFormatError(
            f"{layout.calibration}, on which int8 was calibrated, cannot be read: {error}.",
            f"Remove {layout.root} and build it anew.",
        ) from error
    return texts


def sample_texts(corpus: Corpus, shards: Sequence[Shard], n_texts: int) -> list[str]:
    """Texts drawn from shards spread over the corpus, the same on every call.

    Raises:
        SourceError: there is none.
    """
    texts = draw_texts(corpus, shards, n_texts)
    if not texts:
        raise SourceError("A sample of the sources holds no text.", "Name a column with --text.")
    return texts


def draw_texts(corpus: Corpus, shards: Sequence[Shard], n_texts: int) -> list[str]:
    """`sample_texts`, which may find none."""
    chance = random.Random(SEED)
    chosen = sorted(chance.sample(range(len(shards)), min(len(shards), CALIBRATION_SHARDS)))
    share = -(-n_texts // max(1, len(chosen)))
    texts: list[str] = []
    for number in chosen:
        with closing(read_shards([shards[number]], corpus)) as batches:
            # A whole batch to draw from; reading all of a huge row group would take too long.
            first = next((rows.texts for rows in batches if rows.texts), [])
        texts += chance.sample(first, min(len(first), share))
    return texts[:n_texts]
