"""Retrieval: a query's vector gets near to those of texts that answer it, and away from others.

The other texts are the positives of the other queries of a batch, and the negatives that the
examples bring (`embedder.training.contrastive`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from embedder.ranking import Ranking, ranking_measures
from embedder.retrieval_pairs import RetrievalPair, read_retrieval_pairs
from embedder.specs import TextKind
from embedder.training.contrastive import encode_in_chunks, ranking_loss
from embedder.training.encoder import TrainableEncoder, open_trainable
from embedder.training.run import Batch, Measures, TrainingRun
from embedder.training.task import TaskRequest, hold_out
from embedder.vectors import Rows

SCALE = 20.0
"""Of cosines in the loss, as sentence-transformers has it."""

DEPTH = 100
SHOWN_MEASURES = ("ndcg@10", "mrr@10", "recall@10")

Rank = Callable[[Rows, Rows, int], Ranking]
"""Numbers of the k documents nearest to each query, of the vectors of both."""

Mine = Callable[[Sequence[RetrievalPair]], list[RetrievalPair]]
"""Pairs with more negatives."""


def prepare_retrieval(request: TaskRequest, *, rank: Rank, mine: Mine | None = None) -> TrainingRun:
    """The training run for queries and texts that answer them.

    Columns: query, positive, and negative if there is one. Settings: `scale`, `symmetric`,
    `chunk` (see `RetrievalModel`) and `window`.

    Args:
        request: what is asked for.
        rank: searches, for the measures.
        mine: adds negatives to the pairs that are trained on; None for those they have alone.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        ModelError: the model cannot be.
    """
    settings = request.settings
    pairs = read_retrieval_pairs(request.only_train, request.columns)
    if request.dev is None:
        pairs, dev = hold_out_pairs(pairs, request.options.seed)
    else:
        dev = read_retrieval_pairs(request.dev, request.columns)
    if mine is not None:
        pairs = mine(pairs)
    numbers = PairNumbers(pairs)
    encoder = open_trainable(request.model, max_tokens=settings.get("window"))
    return TrainingRun(
        model=RetrievalModel(
            encoder,
            numbers,
            scale=settings.get("scale", SCALE),
            is_symmetric=settings.get("symmetric", False),
            chunk=settings.get("chunk", 0),
        ),
        transformer=encoder.transformer,
        examples=pairs,
        collate=lambda batch: collate_pairs(encoder, numbers, batch),
        evaluate=lambda: measure_pairs(encoder, dev, rank),
        goal="ndcg@10",
        save=encoder.save,
        facts={
            "training pairs": len(pairs),
            "negatives": sum(len(pair.negatives) for pair in pairs),
            "evaluation pairs": len(dev),
        },
    )


def hold_out_pairs(
    pairs: Sequence[RetrievalPair], seed: int
) -> tuple[list[RetrievalPair], list[RetrievalPair]]:
    """Pairs to train on and to evaluate on; no query or positive is on both sides, unless all of
    them hang together.

    Raises:
        RequestError: there are too few.
    """
    groups = dict(zip(map(id, pairs), _connected(pairs), strict=True))
    return hold_out(pairs, seed, lambda pair: groups[id(pair)])


def _connected(pairs: Sequence[RetrievalPair]) -> list[str]:
    """For each pair a text of its group: pairs that have a text in common are in one."""
    above: dict[str, str] = {}

    def top(text: str) -> str:
        while (higher := above.setdefault(text, text)) != text:
            above[text] = above[higher]  # half of the way, for the next search
            text = higher
        return text

    for pair in pairs:
        above[top(pair.query)] = top(pair.positive)
    return [top(pair.query) for pair in pairs]


class PairNumbers:
    """Numbers of the different queries and documents of some pairs.

    Args:
        pairs: the pairs.
    """

    def __init__(self, pairs: Sequence[RetrievalPair]) -> None:
        self.queries: dict[str, int] = {}
        self.documents: dict[str, int] = {}
        for pair in pairs:
            self.queries.setdefault(pair.query, len(self.queries))
            for text in (pair.positive, *pair.negatives):
                self.documents.setdefault(text, len(self.documents))
        known = {self.key(self.queries[p.query], self.documents[p.positive]) for p in pairs}
        self.known = torch.tensor(sorted(known), dtype=torch.int64)
        """Keys of all queries with their positives, ascending, shape (n_known,)."""

    def key(self, query: int, document: int) -> int:
        """One number for a query and a document."""
        return query * len(self.documents) + document


class RetrievalModel(nn.Module):
    """An encoder with the ranking loss.

    Args:
        encoder: what is trained.
        numbers: of the texts of all examples.
        scale: of cosines in the loss.
        is_symmetric: whether texts pick their queries too.
        chunk: texts of one forward pass, by cached gradients; 0 for all of a batch.
    """

    known: Tensor

    def __init__(
        self,
        encoder: TrainableEncoder,
        numbers: PairNumbers,
        *,
        scale: float,
        is_symmetric: bool,
        chunk: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.scale, self.is_symmetric, self.chunk = scale, is_symmetric, chunk
        self.n_documents = len(numbers.documents)
        self.register_buffer("known", numbers.known, persistent=False)

    def forward(
        self,
        query_ids: Tensor,
        query_mask: Tensor,
        document_ids: Tensor,
        document_mask: Tensor,
        queries: Tensor,
        documents: Tensor,
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            query_ids: pieces of the queries, shape (n, length).
            query_mask: the same shape.
            document_ids: pieces of each query's positive, then of all negatives, shape
                (n_documents, other length).
            document_mask: the same shape.
            queries: numbers of the queries, shape (n,).
            documents: numbers of the documents, shape (n_documents,).
        """
        keys = queries[:, None] * self.n_documents + documents[None, :]
        places = torch.searchsorted(self.known, keys).clamp(max=len(self.known) - 1)
        loss = ranking_loss(
            encode_in_chunks(self._encode, query_ids, query_mask, self.chunk),
            encode_in_chunks(self._encode, document_ids, document_mask, self.chunk),
            self.known[places] == keys,
            scale=self.scale,
            is_symmetric=self.is_symmetric,
        )
        return {"loss": loss}

    def _encode(self, piece_ids: Tensor, attention_mask: Tensor) -> Tensor:
        rows: Tensor = self.encoder(piece_ids, attention_mask)[0]
        return rows


def collate_pairs(
    encoder: TrainableEncoder, numbers: PairNumbers, pairs: Sequence[RetrievalPair]
) -> Batch:
    """Pairs as a batch of `RetrievalModel`."""
    texts = [pair.positive for pair in pairs]
    texts += [text for pair in pairs for text in pair.negatives]
    queries = encoder.collate(encoder.pieces([pair.query for pair in pairs], TextKind.QUERY))
    documents = encoder.collate_texts(texts)
    return {
        "query_ids": queries["piece_ids"],
        "query_mask": queries["attention_mask"],
        "document_ids": documents["piece_ids"],
        "document_mask": documents["attention_mask"],
        "queries": torch.tensor([numbers.queries[pair.query] for pair in pairs]),
        "documents": torch.tensor([numbers.documents[text] for text in texts]),
    }


def measure_pairs(
    encoder: TrainableEncoder, pairs: Sequence[RetrievalPair], rank: Rank
) -> Measures:
    """Measures of the search for the positives of queries among all positives of the pairs."""
    numbers = PairNumbers([pair._replace(negatives=()) for pair in pairs])
    relevance: list[dict[int, int]] = [{} for _ in numbers.queries]
    for pair in pairs:
        relevance[numbers.queries[pair.query]][numbers.documents[pair.positive]] = 1
    queries = encoder.encode(list(numbers.queries), TextKind.QUERY)
    documents = encoder.encode(list(numbers.documents))
    found = ranking_measures(rank(queries, documents, DEPTH), relevance)
    return {name: found[name] for name in SHOWN_MEASURES}
