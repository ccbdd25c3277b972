"""Measures of rankings, by ir_measures (MacAvaney et al. 2022), which calls trec_eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from embedder.errors import RequestError

Ranking = npt.NDArray[np.int64]
"""Numbers of documents, the best first, -1 where there are no more, shape (n_queries, k)."""

RANKING_MEASURES = ("ndcg@10", "map", "mrr@10", "recall@10", "recall@100")

QUERY_BLOCK = 500
"""Queries whose rankings are held as Python objects at once."""


def ranking_measures(rankings: Ranking, relevance: Sequence[Mapping[int, int]]) -> dict[str, float]:
    """RANKING_MEASURES, averaged over the queries.

    Args:
        rankings: documents found for each query.
        relevance: of each query the documents that people judged, and their grades; 0 and less
            are not relevant.

    Raises:
        RequestError: no query has a relevant document.
    """
    import ir_measures
    from ir_measures import AP, RR, R, nDCG

    asked = (nDCG @ 10, AP, RR @ 10, R @ 10, R @ 100)
    names = dict(zip(map(str, asked), RANKING_MEASURES, strict=True))
    if not any(grade > 0 for judged in relevance for grade in judged.values()):
        raise RequestError("No query has a relevant document.", "There is nothing to measure.")
    sums = dict.fromkeys(RANKING_MEASURES, 0.0)
    for start in range(0, len(relevance), QUERY_BLOCK):
        numbers = range(start, min(start + QUERY_BLOCK, len(relevance)))
        judgements = [
            ir_measures.Qrel(str(query), str(document), grade)
            for query in numbers
            for document, grade in relevance[query].items()
        ]
        # The rank is the score: trec_eval orders equal scores in its own way.
        found = [
            ir_measures.ScoredDoc(str(query), str(document), -rank)
            for query in numbers
            for rank, document in enumerate(rankings[query].tolist())
            if document >= 0
        ]
        for metric in ir_measures.iter_calc(asked, judgements, found):
            sums[names[str(metric.measure)]] += metric.value
    return {name: sums[name] / len(relevance) for name in RANKING_MEASURES}
