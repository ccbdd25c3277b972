"""The uses of a word that a map shows, read from an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import RequestError
from embedder.projection import decode_codes
from embedder.records import Codes
from embedder.sentences import split_sentences
from embedder.vectors import Rows
from embedder.words import find_words, word_form
from indexes.deletions import read_deleted
from indexes.documents import passage_documents
from indexes.layout import Layout
from indexes.manifest import Manifest, SenseRecord
from indexes.metadata import MetadataStore
from indexes.occurrences import read_words
from indexes.sense_inventory import SenseInventory, WordSenses
from indexes.word_uses import CodeReader
from jobs.induction import LEAST_USES
from jobs.sense_basis import open_basis

BLOCK = 1000
"""Uses whose documents are read at once."""

MOST_CHARACTERS = 320
"""Of a sentence to either side of the word; lists make sentences of thousands."""

SEED = 0

Records = npt.NDArray[np.void]


@dataclass(frozen=True, kw_only=True)
class MapSense:
    """A sense in the legend.

    Args:
        name: as `bank/1`.
        n_uses: its uses, shown or not.
        share: their share of the word's uses.
        words: words typical of it, if they are known.
    """

    name: str
    n_uses: int
    share: float
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MapUse:
    """A use of the word, in its sentence.

    Args:
        sense: place of its sense in the legend.
        confidence: how surely it has that sense and no other, in [0, 1].
        before: the sentence before the word.
        word: the word as it stands there.
        after: the sentence after it.
        document: id of the document.
        metadata: the fields asked for that have a value.
    """

    sense: int
    confidence: float
    before: str
    word: str
    after: str
    document: str
    metadata: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MapPoints:
    """What a map shows of a word.

    Args:
        word: the form by which it is looked up.
        senses: those that have uses, the most frequent first.
        uses: those to show, in the order of the index.
        rows: their vectors, unit rows, shape (n, d).
        centroids: of the senses, unit rows, shape (n_senses, d).
        n_uses: uses that there are.
    """

    word: str
    senses: tuple[MapSense, ...]
    uses: tuple[MapUse, ...]
    rows: Rows
    centroids: Rows
    n_uses: int


def read_points(
    layout: Layout,
    manifest: Manifest,
    store: MetadataStore,
    word: str,
    *,
    limit: int,
    fields: Sequence[str] | None = None,
) -> MapPoints:
    """The uses of a word in documents that are not deleted.

    Args:
        layout: the index.
        manifest: its committed state.
        store: its documents.
        word: the word, in any case.
        limit: most uses; of more a uniform sample, the same each time.
        fields: metadata columns to read; the first one by default.

    Raises:
        RequestError: the index has no senses, or none of this word.
        FilterError: there is no such column.
    """
    found = _find(layout, manifest, word_form(word.strip()))
    records = _live(layout, manifest, found)
    counts = [int((records["sense"] == number).sum()) for number in found.numbers]
    order = sorted((i for i, n in enumerate(counts) if n), key=lambda i: -counts[i])
    numbers = found.numbers[order].tolist()
    shown = records
    if len(records) > limit:
        chosen = np.random.default_rng(SEED).choice(len(records), limit, replace=False)
        shown = records[np.sort(chosen)]
    chosen_fields = store.metadata_columns[:1] if fields is None else store.resolve_fields(fields)
    return MapPoints(
        word=found.form,
        senses=tuple(
            MapSense(
                name=f"{found.form}/{number}",
                n_uses=counts[place],
                share=counts[place] / len(records),
            )
            for number, place in zip(numbers, order, strict=True)
        ),
        uses=tuple(_texts(layout, manifest, store, shown, numbers, chosen_fields)),
        rows=decode_codes(_codes(layout, manifest, shown)),
        centroids=found.centroids[order],
        n_uses=len(records),
    )


def _find(layout: Layout, manifest: Manifest, form: str) -> WordSenses:
    if [found.form for found in find_words(form)] != [form]:
        raise RequestError(f"{form!r} is not one word.", "For example: embedder map bank")
    if manifest.senses is None or manifest.basis is None:
        raise RequestError(
            f"{layout.root} was built without senses.",
            "Build it anew elsewhere, without --no-senses, and name it with --index.",
        )
    found = SenseInventory(layout, manifest.senses).find(form)
    if found is None:
        raise _missing(layout, manifest, form)
    return found


def _missing(layout: Layout, manifest: Manifest, form: str) -> RequestError:
    assert manifest.basis is not None
    if form in open_basis(layout, manifest.basis).finder.function_words:
        return RequestError(
            f"{form!r} is a function word of this corpus, whose uses are not kept.",
            "Choose a word that says what a text is about.",
        )
    n_uses = _count(layout, manifest, form)
    times = {0: "does not occur", 1: "occurs once"}.get(n_uses, f"occurs {n_uses:,} times")
    return RequestError(
        f"{form!r} {times} in {layout.root}, and a map needs {LEAST_USES} uses in different texts.",
        "Choose a more frequent word.",
    )


def _count(layout: Layout, manifest: Manifest, form: str) -> int:
    n_uses = 0
    for segment in manifest.segments:
        if segment.n_occurrences:
            table = read_words(layout, segment)
            counts = zip(table["form"].to_pylist(), table["n_uses"].to_pylist(), strict=True)
            n_uses += sum(n for found, n in counts if found == form)
    return n_uses


def _live(layout: Layout, manifest: Manifest, word: WordSenses) -> Records:
    """Uses whose documents are there still, their segments numbered as in the manifest."""
    numbers = {segment.id: number for number, segment in enumerate(manifest.segments)}
    record = manifest.senses
    assert isinstance(record, SenseRecord)
    kept = [word.uses[:0]]
    for covered, (name, deletion) in enumerate(record.segments):
        own = np.array(word.uses[word.uses["segment"] == covered])
        if not len(own) or name not in numbers:
            continue
        segment = manifest.segments[numbers[name]]
        own["segment"] = numbers[name]
        if segment.deletion is not None and segment.deletion.name != deletion:
            documents = passage_documents(layout, segment)[_passages(layout, manifest, own)]
            own = own[~np.isin(documents, read_deleted(layout, segment))]
        kept.append(own)
    live = np.concatenate(kept)
    if not len(live):
        raise RequestError(f"All documents with {word.form!r} are deleted.", "Choose another word.")
    return live


def _passages(layout: Layout, manifest: Manifest, own: Records) -> npt.NDArray[np.int64]:
    """Passage of each of some uses in one segment."""
    assert manifest.basis is not None
    reader = CodeReader(layout, manifest.segments, manifest.basis.n_components)
    ends = reader.open(int(own["segment"][0])).ends
    return np.searchsorted(ends, own["row"], side="right").astype(np.int64)


def _codes(layout: Layout, manifest: Manifest, records: Records) -> Codes:
    assert manifest.basis is not None
    reader = CodeReader(layout, manifest.segments, manifest.basis.n_components)
    return reader.read(records["segment"].astype(np.int64), records["row"].astype(np.int64))


def _texts(
    layout: Layout,
    manifest: Manifest,
    store: MetadataStore,
    records: Records,
    numbers: Sequence[int],
    fields: Sequence[str],
) -> Iterator[MapUse]:
    assert manifest.basis is not None
    reader = CodeReader(layout, manifest.segments, manifest.basis.n_components)
    for first in range(0, len(records), BLOCK):
        block = records[first : first + BLOCK]
        places = []
        wanted: dict[int, list[int]] = {}
        for record in block:
            segment, row = int(record["segment"]), int(record["row"])
            found = reader.open(segment)
            passage = int(np.searchsorted(found.ends, row, side="right"))
            places.append((segment, passage, found.records[row]))
            wanted.setdefault(segment, []).append(passage)
        spans = store.passages(wanted)
        rows: dict[int, list[int]] = {}
        for (segment, _), span in spans.items():
            rows.setdefault(segment, []).append(span.document)
        documents = store.documents(rows, fields)
        for record, (segment, passage, occurrence) in zip(block, places, strict=True):
            span = spans[segment, passage]
            document = documents[segment, span.document]
            start, length = int(occurrence["start"]), int(occurrence["length"])
            text = document.text[span.start : span.end]
            before, word, after = sentence_around(text, start, start + length)
            yield MapUse(
                sense=numbers.index(int(record["sense"])),
                confidence=int(record["confidence"]) / 65_535,
                before=before,
                word=word,
                after=after,
                document=document.id,
                metadata={k: v for k, v in document.metadata.items() if v is not None},
            )


def sentence_around(text: str, start: int, end: int) -> tuple[str, str, str]:
    """The sentence of a word: what stands before it, the word, and what stands after it.

    Args:
        text: the passage.
        start: first character of the word.
        end: one past its last.
    """
    first, last = next(((a, b) for a, b in split_sentences(text) if a <= start < b), (start, end))
    before, after = text[first:start], text[end : max(last, end)]
    if len(before) > MOST_CHARACTERS:
        before = "…" + before[-MOST_CHARACTERS:].partition(" ")[2]
    if len(after) > MOST_CHARACTERS:
        after = after[:MOST_CHARACTERS].rpartition(" ")[0] + "…"
    return before, text[start:end], after
