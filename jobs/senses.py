"""The senses of an index's words: which there are, what each is like, and what lies near it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import WordError
from embedder.projection import decode_codes
from embedder.records import hash_text
from embedder.senses import assign
from embedder.vectors import Rows
from embedder.words import find_words, word_form
from indexes.layout import Layout
from indexes.lock import hold_open
from indexes.manifest import Manifest
from indexes.manifest_file import check_index_files, read_manifest
from indexes.metadata import MetadataStore
from indexes.searcher import CHECKED_BYTES
from indexes.sense_inventory import SenseInventory, WordSenses
from indexes.sense_uses import SenseUses, Uses, count_uses
from jobs.find import find_index
from jobs.induction import LEAST_USES
from jobs.sense_basis import open_basis
from jobs.typical_words import TypicalWords
from jobs.use_texts import UseText, read_use_texts

SENSE_COLUMNS = ("word", "sense", "n_uses", "share", "words", "neighbours", "examples")

LEAST_CONFIDENCE = 0.6
"""A use that is less surely of a sense answers no search for that sense."""

RECENT_WORDS = 64
"""Words whose uses are kept for the next question."""

CENTRAL_USES = 300
"""Uses nearest to a sense's centre, around which its typical words are counted."""


@dataclass(frozen=True, kw_only=True)
class NearSense:
    """A sense near something.

    Args:
        sense: its name, as `shore/1`.
        score: cosine to what was looked for.
        share: its share of its word's uses.
        n_uses: its uses.
    """

    sense: str
    score: float
    share: float
    n_uses: int


@dataclass(frozen=True, kw_only=True)
class Sense:
    """One sense of a word.

    Args:
        name: as `bank/1`.
        n_uses: uses that have it, of those that are kept.
        share: their share of the word's uses.
        neighbours: the nearest senses of other words.
        words: words typical of its contexts, the most typical first.
        examples: its most central uses, each of another document.
    """

    name: str
    n_uses: int
    share: float
    neighbours: tuple[NearSense, ...]
    words: tuple[str, ...]
    examples: tuple[UseText, ...]


@dataclass(frozen=True, kw_only=True)
class WordView:
    """The inventory of one word.

    Args:
        word: the form by which it is looked up.
        n_uses: its uses in documents that are not deleted, of those that are kept.
        n_found: its uses when the inventory was built, before a sample was drawn.
        senses: its senses, the most frequent first.
    """

    word: str
    n_uses: int
    n_found: int
    senses: tuple[Sense, ...]

    def rows(self) -> list[dict[str, Any]]:
        """A JSON-able dictionary a sense, with the columns SENSE_COLUMNS."""
        return [
            {
                "word": self.word,
                "sense": sense.name,
                "n_uses": sense.n_uses,
                "share": sense.share,
                "words": list(sense.words),
                "neighbours": [asdict(near) for near in sense.neighbours],
                "examples": [use.to_json() for use in sense.examples],
            }
            for sense in self.senses
        ]


@dataclass(frozen=True)
class SenseChoice:
    """One sense of a word that somebody means.

    Args:
        word: the word.
        number: number of the sense.
        confidence: how surely it is meant.
    """

    word: WordSenses
    number: int
    confidence: float = 1.0

    @property
    def name(self) -> str:
        """Its name, as `bank/2`."""
        return f"{self.word.form}/{self.number}"

    @property
    def centroid(self) -> Rows:
        """Its centre, a unit row, shape (n_components,)."""
        centroid: Rows = self.word.centroids[self.word.numbers == self.number][0]
        return centroid


class Senses:
    """The senses in one committed state of an index.

    Args:
        layout: the index.
        manifest: the state, which has senses.
        store: its documents and passages.

    Raises:
        WordError: the index was built without senses.
        IndexFormatError: a file is not as it was written.
    """

    def __init__(self, layout: Layout, manifest: Manifest, store: MetadataStore) -> None:
        if manifest.basis is None or manifest.senses is None:
            raise no_senses(layout)
        self.layout, self.manifest, self.store = layout, manifest, store
        self.inventory = SenseInventory(layout, manifest.senses)
        self.uses = SenseUses(layout, manifest, self.inventory)
        self._recent: dict[str, Uses] = {}

    @cached_property
    def _typical(self) -> TypicalWords:
        return TypicalWords(self.inventory, self.uses)

    def find(self, word: str) -> WordSenses:
        """The senses of a word, whatever its case.

        Raises:
            WordError: the index has none of it, with the reason.
        """
        form = word_form(word.strip())
        found = self.inventory.find(form)
        if found is None:
            raise self._missing(form)
        return found

    def _missing(self, form: str) -> WordError:
        """Why the index has no senses of a word.

        Raises:
            WordError: it looks like the name of a sense, and there is no such word or sense.
        """
        word, _, number = form.partition("/")
        if number:
            self.choose(form)
            return WordError(
                f"{form!r} is one sense, and a word is wanted.", f"Give the word alone: {word}"
            )
        words = list(find_words(form))
        if len(words) != 1 or (words[0].start, words[0].end) != (0, len(form)):
            return WordError(
                f"{form!r} is not one word.",
                "Senses are of single words of letters, as in: embedder senses bank",
            )
        assert self.manifest.basis is not None
        if form in open_basis(self.layout, self.manifest.basis).finder.function_words:
            return WordError(
                f"{form!r} is one of the function words of this corpus, which get no senses.",
                "Choose a word that says what a text is about.",
            )
        n_uses = count_uses(self.layout, self.manifest.segments, hash_text(form))
        if not n_uses:
            return WordError(
                f"{form!r} does not occur in the index.",
                "embedder senses --list shows words that have several senses.",
            )
        times = "once" if n_uses == 1 else f"{n_uses:,} times"
        return WordError(
            f"{form!r} occurs {times} in the index, and senses are found from {LEAST_USES} uses "
            "in different texts on.",
            "Search for it with: embedder search " + form,
        )

    def choose(self, word: str, sense: str | None = None) -> SenseChoice | None:
        """The sense that is named, None if only the word is.

        Args:
            word: a word, or the name of a sense as `bank/2`.
            sense: the name of a sense, or its number alone.

        Raises:
            WordError: there is no such word or sense, or the two contradict each other.
        """
        form, _, number = word.partition("/")
        if sense is not None:
            named, slash, other = sense.rpartition("/")
            if (slash and word_form(named) != word_form(form)) or (number and other != number):
                wanted = f"{word!r} is another sense" if number else f"it is no sense of {word!r}"
                raise WordError(
                    f"{sense!r} is asked for, and {wanted}.",
                    f"Ask for one: the word alone with --sense, or {sense} in place of {word}.",
                )
            number = other
        found = self.find(form)
        if not number:
            return None
        if number not in map(str, found.numbers.tolist()):
            raise WordError(
                f"{found.form!r} has no sense {number!r}; it has: {', '.join(found.names)}.",
                f"See them with: embedder senses {found.form}",
            )
        return SenseChoice(found, int(number))

    def named(self, sense: str) -> SenseChoice:
        """The sense of that name, as `bank/2`.

        Raises:
            WordError: there is no such word or sense, or no number is given.
        """
        found = self.choose(sense)
        if found is None:
            raise WordError(
                f"{sense!r} names a word and no sense of it.",
                f"Give one of: {', '.join(self.find(sense).names)}.",
            )
        return found

    def uses_of(self, word: WordSenses) -> Uses:
        """The uses of a word that are not deleted; those of the last words are kept."""
        found = self._recent.get(word.form)
        if found is None:
            if len(self._recent) >= RECENT_WORDS:
                self._recent.clear()
            found = self._recent[word.form] = self.uses.of(word)
        return found

    def describe(
        self,
        word: WordSenses,
        *,
        n_neighbours: int = 5,
        n_words: int = 8,
        n_examples: int = 2,
        fields: Sequence[str] = (),
    ) -> WordView:
        """A word's senses, each with what it is like.

        Args:
            word: the word.
            n_neighbours: nearest senses of other words to find of each.
            n_words: typical words to find of each.
            n_examples: examples to read of each.
            fields: metadata columns of the examples.

        Raises:
            FilterError: there is no such column.
            IndexFormatError: a file is not as it was written.
        """
        uses = self.uses_of(word)
        rows = decode_codes(self.uses.codes(uses))
        counts = {n: int((uses.senses == n).sum()) for n in word.numbers.tolist()}
        numbers = sorted((n for n in counts if counts[n]), key=lambda n: (-counts[n], n))
        central = {n: self._central(uses, rows, SenseChoice(word, n)) for n in numbers}
        typical = self._typical.of(word, {n: c[0] for n, c in central.items()}, n_words)
        senses = [
            Sense(
                name=f"{word.form}/{n}",
                n_uses=counts[n],
                share=counts[n] / len(uses),
                neighbours=tuple(self.near(SenseChoice(word, n), n_neighbours)),
                words=tuple(typical[n]),
                examples=tuple(self._examples(word, *central[n], n_examples, fields)),
            )
            for n in numbers
        ]
        return WordView(
            word=word.form, n_uses=len(uses), n_found=word.n_found, senses=tuple(senses)
        )

    def _central(self, uses: Uses, rows: Rows, sense: SenseChoice) -> tuple[Uses, Rows]:
        """The uses nearest to the centre of their sense, nearest first, with their cosines."""
        own = np.flatnonzero(uses.senses == sense.number)
        scores = rows[own] @ sense.centroid
        order = np.argsort(-scores, kind="stable")[:CENTRAL_USES]
        return uses.take(own[order]), scores[order]

    def _examples(
        self, word: WordSenses, uses: Uses, scores: Rows, n: int, fields: Sequence[str]
    ) -> list[UseText]:
        """Texts of the first uses, of each document and each passage text one."""
        kept = _first_of_each(uses)[: 4 * n]
        texts = read_use_texts(self.store, word.form, uses.take(kept), scores[kept], fields)
        different: dict[str, UseText] = {}
        for text in texts:
            different.setdefault(text.passage, text)
        return list(different.values())[:n]

    def near(self, sense: SenseChoice, k: int) -> list[NearSense]:
        """The nearest senses of other words."""
        return self.near_row(sense.centroid, k, without=sense.word.form)

    def near_row(self, row: Rows, k: int, *, without: str = "") -> list[NearSense]:
        """The senses nearest to a vector of a use, nearest first.

        Args:
            row: a unit row in the space of the occurrences, shape (n_components,).
            k: how many.
            without: a word whose senses are left out.
        """
        inventory = self.inventory
        scores = inventory.centroids @ row
        found: list[NearSense] = []
        for place in np.argsort(-scores, kind="stable").tolist():
            if len(found) == k:
                break
            if inventory.forms[place] != without:
                n_uses = int(inventory.n_uses[place])
                share = n_uses / inventory.n_word_uses(place)
                name = inventory.name(place)
                found.append(
                    NearSense(sense=name, score=float(scores[place]), share=share, n_uses=n_uses)
                )
        return found

    def uses_like(
        self,
        word: WordSenses,
        row: Rows,
        k: int,
        *,
        number: int | None = None,
        fields: Sequence[str] = (),
    ) -> list[UseText]:
        """The uses of a word that are nearest to a vector of a use, one of each document.

        Args:
            word: the word.
            row: a unit row in the space of the occurrences, shape (n_components,).
            k: how many.
            number: only those of this sense.
            fields: metadata columns to read.
        """
        uses = self.uses_of(word)
        if number is not None:
            uses = uses.of_sense(number)
        scores = decode_codes(self.uses.codes(uses)) @ row
        order = np.argsort(-scores, kind="stable")
        kept = order[_first_of_each(uses.take(order))[:k]]
        return read_use_texts(self.store, word.form, uses.take(kept), scores[kept], fields)

    def passages(self, sense: SenseChoice) -> npt.NDArray[np.bool_]:
        """Which passages surely use a word in a sense, over all segments, shape (n_passages,)."""
        uses = self.uses_of(sense.word).of_sense(sense.number)
        return self.uses.flags(uses.take(uses.confidences >= LEAST_CONFIDENCE))


def no_senses(layout: Layout) -> WordError:
    """What to say of an index that was built without senses."""
    return WordError(
        f"{layout.root} was built without senses.",
        "Build it anew without --no-senses: in another --out, or after removing it.",
    )


def _first_of_each(uses: Uses) -> npt.NDArray[np.int64]:
    """The first use of each document, in their order."""
    keys = uses.segments << 32 | uses.documents
    return np.sort(np.unique(keys, return_index=True)[1])


@contextlib.contextmanager
def open_senses(path: str | Path | None = None) -> Iterator[Senses]:
    """Open the senses of an index, without its encoder.

    Args:
        path: the index folder; found as `find_index` says when it is None.

    Raises:
        IndexNotFoundError: no index there.
        WordError: it was built without senses.
        IndexFormatError: the index is damaged or of another format.
    """
    layout = Layout(find_index(path))
    with hold_open(layout.readers):
        manifest = read_manifest(layout).finished()
        check_index_files(layout, manifest, with_digests=manifest.n_bytes <= CHECKED_BYTES)
        with contextlib.closing(MetadataStore(layout, manifest)) as store:
            yield Senses(layout, manifest, store)


def nearest_sense(word: WordSenses, row: Rows) -> SenseChoice:
    """The sense of a word that a vector of a use has.

    Args:
        word: the word.
        row: a unit row in the space of the occurrences, shape (n_components,).
    """
    labels, confidences = assign(row[None], word.centroids)
    number = int(word.numbers[labels[0]])
    return SenseChoice(word, number, float(confidences[0]))
