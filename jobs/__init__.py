"""Where text, vectors and indexes meet: batch jobs, the query engine and the command line.

from jobs import BuildOptions, build_index, open_index

build_index(BuildOptions(sources=("corpus.parquet",), out="news.index"))
with open_index("news.index") as index:
    for hit in index.search("river bank", k=5):
        print(hit.score, hit.id, hit.passage)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.build import build_index
    from jobs.plan import BuildOptions
    from jobs.query import Hit, Index, open_index
    from jobs.summary import BuildSummary

__all__ = ["BuildOptions", "BuildSummary", "Hit", "Index", "build_index", "open_index"]

_HOMES = {
    "BuildOptions": "jobs.plan",
    "BuildSummary": "jobs.summary",
    "Hit": "jobs.query",
    "Index": "jobs.query",
    "build_index": "jobs.build",
    "open_index": "jobs.query",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
