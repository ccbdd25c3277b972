"""What `embedder words train` is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from embedder.cooccurrences import LONGEST_WINDOW
from embedder.errors import RequestError

MEMORY = 1 << 30


class Method(StrEnum):
    """How vectors are trained."""

    WORD2VEC = "word2vec"
    """Skip-grams with negative samples (Mikolov et al. 2013), by gensim."""

    GLOVE = "glove"
    """Global vectors (Pennington et al. 2014)."""


WINDOWS = {Method.WORD2VEC: 5, Method.GLOVE: 10}


@dataclass(frozen=True, kw_only=True)
class TrainWordsOptions:
    """What to train, on what, and where to.

    Args:
        sources: Parquet files, folders, globs or URLs.
        method: how.
        out: the folder, which must not be there.
        text: the column with the text; None to find it.
        limit: only the first so many rows.
        width: components of a vector.
        window: words on either side that count; None for 5 with word2vec and 10 with GloVe.
        least_count: words with fewer uses get no vector.
        epochs: None for 25 with GloVe, and with word2vec for 5, or up to 30 on little text.
        seed: of all that is drawn by chance.
        memory: bytes to use, about, beside what the program itself takes.
        threads: of word2vec; with more than one, its vectors differ a little between runs.
    """

    sources: Sequence[str]
    method: Method = Method.WORD2VEC
    out: str | Path
    text: str | None = None
    limit: int | None = None
    width: int = 100
    window: int | None = None
    least_count: int = 5
    epochs: int | None = None
    seed: int = 1
    memory: int = MEMORY
    threads: int = 1


def check_options(options: TrainWordsOptions) -> TrainWordsOptions:
    """The options, with the method's own window where none was asked for.

    Raises:
        RequestError: they make no sense.
    """
    options = replace(
        options,
        window=WINDOWS[options.method] if options.window is None else options.window,
    )
    for name in ("width", "window", "least_count", "epochs", "threads", "limit"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise RequestError(f"{name} is {value}.", "Give at least 1.")
    if options.window is not None and options.window > LONGEST_WINDOW:
        raise RequestError(
            f"A window of {options.window} words is too long.", f"Give at most {LONGEST_WINDOW}."
        )
    if options.method is Method.GLOVE and options.threads > 1:
        raise RequestError("GloVe is trained in one thread.", "Leave --threads out.")
    return options
