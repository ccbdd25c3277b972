"""`embedder finetune retrieval`: what the task needs of the index layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedder.encoders import EncoderOptions, open_encoder
from embedder.ranking import Ranking
from embedder.retrieval_pairs import RetrievalPair
from embedder.training.devices import is_main_process, wait_for_main_process
from embedder.training.run import TrainingRun
from embedder.training.task import TaskRequest
from embedder.training.tasks import retrieval
from embedder.vectors import Rows
from indexes.durable import replace_file
from indexes.nearest import NearestDocuments
from indexes.npy import npy_bytes
from jobs.hard_negatives import MARGIN, Numbers, find_hard_negatives, with_negatives

NEGATIVES_FILE = "negatives.npy"


def prepare_retrieval(request: TaskRequest) -> TrainingRun:
    """The training run, with exact search and, if they are asked for, hard negatives.

    Settings: `hard_negatives`, how many a pair, and `margin`; and those of the task.

    Raises:
        EmbedderError: see `embedder.training.tasks.retrieval`.
    """

    def mine(pairs: Sequence[RetrievalPair]) -> list[RetrievalPair]:
        return with_negatives(pairs, _hard_negatives(pairs, request))

    is_mined = bool(request.settings.get("hard_negatives"))
    return retrieval.prepare_retrieval(request, rank=rank, mine=mine if is_mined else None)


def rank(queries: Rows, documents: Rows, k: int) -> Ranking:
    """Numbers of the k documents nearest to each query, shape (n_queries, k)."""
    nearest = NearestDocuments(queries, k)
    nearest.add(documents, np.arange(len(documents)))
    return nearest.numbers


def _hard_negatives(pairs: Sequence[RetrievalPair], request: TaskRequest) -> Numbers:
    """Found once in a run, by its main process; where nothing may be written, any others."""
    n = request.settings["hard_negatives"]
    if request.room is None:
        n_texts = len({pair.positive for pair in pairs})
        return np.random.default_rng(0).integers(0, n_texts, (len(pairs), n))
    path = request.room / NEGATIVES_FILE
    if not is_main_process():
        wait_for_main_process(path.is_file)
    if not path.is_file():
        _write(path, _find(pairs, request, n))
    found: Numbers = np.load(path, allow_pickle=False)
    return found


def _find(pairs: Sequence[RetrievalPair], request: TaskRequest, n: int) -> Numbers:
    encoder = open_encoder(
        EncoderOptions(
            model=request.model,
            device=request.options.device,
            threads=request.options.threads,
            max_tokens=request.settings.get("window"),
        )
    )
    return find_hard_negatives(
        pairs,
        encoder,
        n,
        margin=request.settings.get("margin", MARGIN),
        report=lambda n_done, n_total: request.report("hard negatives", n_done, n_total),
    )


def _write(path: Path, numbers: Numbers) -> None:
    replace_file(path, npy_bytes(numbers))
