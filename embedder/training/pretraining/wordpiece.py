"""A WordPiece vocabulary from a corpus, and the tokenizer folder that BERT's readers open.

The trainer is that of `tokenizers` (pairs of pieces are joined by how often they occur, as BPE
does; Google's own trainer was never published). It numbers the letters inside words in the order
in which a hash table with a random seed lists the words, and breaks ties by these numbers; so two
runs differ. Here the letters are counted first and all numbered in order, so that equal text gives
equal bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from embedder.errors import ModelError, RequestError
from embedder.model_location import locate_model

PAD, UNKNOWN, START, END, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SPECIAL_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
"""What transformers calls them."""

INSIDE = "##"
"""Stands before a piece that goes on with a word."""

MOST_PIECES = 30_522
"""Of BERT's own English vocabulary."""

LEAST_PIECES = 1_000
USES_A_PIECE = 100
"""Running words for each piece, where the number of pieces is left to the size of the corpus: with
fewer, most pieces are met too seldom to learn what they mean."""

MOST_LETTERS = 1_000
"""Different characters that are pieces; the rarer ones are unknown (the library's own limit)."""

LEAST_COUNT = 2
LONGEST_WORD = 100
"""Characters; a longer word is unknown, as in BERT."""

Batches = Callable[[], Iterable[Sequence[str]]]
"""Starts reading the texts of a corpus."""


@dataclass(frozen=True)
class Letters:
    """What a first pass over a corpus finds.

    Args:
        alphabet: its most frequent characters, in order.
        n_words: running words, cut at spaces.
    """

    alphabet: tuple[str, ...]
    n_words: int


def train_wordpiece(
    batches: Batches, *, n_pieces: int | None = None, is_cased: bool = False
) -> Tokenizer:
    """Train a vocabulary on a corpus, which is read twice; equal text gives an equal tokenizer.

    Args:
        batches: the texts.
        n_pieces: pieces wanted, special ones included; None for BERT's 30,522, or fewer where
            there is little text. Fewer come out where the text gives no more.
        is_cased: keep upper case and accents.

    Raises:
        RequestError: the alphabet alone has more pieces, or there is no text.
    """
    tokenizer = _untrained(is_cased)
    letters = _count_letters(batches, tokenizer.normalizer)
    if not letters.alphabet:
        raise RequestError("The corpus holds no text to make a vocabulary of.")
    n_wanted = n_pieces or _default_size(letters)
    listed = [*SPECIAL, *letters.alphabet, *(INSIDE + letter for letter in letters.alphabet)]
    if n_wanted < len(listed):
        raise RequestError(
            f"A vocabulary of {n_wanted:,} pieces is too small: the corpus has "
            f"{len(letters.alphabet):,} different characters.",
            f"Give --vocabulary at least {len(listed):,}.",
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=n_wanted,
        min_frequency=LEAST_COUNT,
        initial_alphabet=list(letters.alphabet),
        limit_alphabet=len(letters.alphabet),
        special_tokens=listed,  # gives all of them a number before any word is read
        show_progress=False,
    )
    tokenizer.train_from_iterator((list(texts) for texts in batches()), trainer)
    return _with_vocabulary(tokenizer.get_vocab(), is_cased)


def _default_size(letters: Letters) -> int:
    fitting = max(LEAST_PIECES, letters.n_words // USES_A_PIECE)
    return max(min(MOST_PIECES, fitting), len(SPECIAL) + 2 * len(letters.alphabet))


def _untrained(is_cased: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not is_cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _count_letters(batches: Batches, normalizer: normalizers.Normalizer) -> Letters:
    counts: Counter[str] = Counter()
    n_words = 0
    for texts in batches():
        for text in texts:
            n_words += len(text.split())
            counts.update(normalizer.normalize_str(text))
    seen = [(letter, n) for letter, n in counts.items() if not letter.isspace()]
    seen.sort(key=lambda found: (-found[1], found[0]))
    return Letters(tuple(sorted(letter for letter, _ in seen[:MOST_LETTERS])), n_words)


def _with_vocabulary(found: dict[str, int], is_cased: bool) -> Tokenizer:
    """A tokenizer whose special pieces are BERT's alone, not all that the trainer was given."""
    pieces = sorted(found, key=lambda piece: found[piece])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = _untrained(is_cased)
    tokenizer.model = models.WordPiece(
        vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.decoder = decoders.WordPiece(prefix=INSIDE)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        pair=f"{START} $A {END} $B:1 {END}:1",
        special_tokens=[(START, vocabulary[START]), (END, vocabulary[END])],
    )
    return tokenizer


def save_wordpiece(tokenizer: Tokenizer, folder: Path, *, is_cased: bool, max_tokens: int) -> None:
    """Write a trained tokenizer as transformers does for a BERT.

    Args:
        tokenizer: from `train_wordpiece`.
        folder: where to.
        is_cased: as it was trained.
        max_tokens: longest text that the model was trained on.

    Raises:
        OSError: the disk takes no more.
    """
    text = tokenizer.to_str(pretty=True)
    (folder / "tokenizer.json").write_text(text, "utf-8")
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": not is_cased,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "model_max_length": max_tokens,
        **dict(zip(SPECIAL_NAMES, SPECIAL, strict=True)),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", "utf-8")


def find_pad(tokenizer: Tokenizer) -> int:
    """The id that fills a batch."""
    found = (tokenizer.token_to_id(piece) for piece in (PAD, "<pad>"))
    return next((int(number) for number in found if number is not None), 0)


def take_tokenizer(name: str, folder: Path, *, max_tokens: int) -> Tokenizer:
    """Take the tokenizer of another model.

    Args:
        name: a model, or a folder that holds a tokenizer.json.
        folder: where it is written, for texts of at most `max_tokens`.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    source = locate_model(name)
    path = source / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises plain Exception
        raise ModelError(
            f"The tokenizer {path} cannot be read: {error}.",
            "Name a model, or a folder that holds a tokenizer.json, with --tokenizer.",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = _read_settings(source / "tokenizer_config.json")
    _write_settings(folder, {**settings, "model_max_length": max_tokens})
    return tokenizer


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {"tokenizer_class": "PreTrainedTokenizerFast"}
    return values if isinstance(values, dict) else {}


def _write_settings(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
