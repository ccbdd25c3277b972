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
    from jobs.blending import BlendOptions, blend
    from jobs.build import build_index
    from jobs.comparison import Comparison, compare_word
    from jobs.finetuning import FinetuneOptions, finetune
    from jobs.layer_distillation import DistilLayersOptions, distil_layers
    from jobs.plan import BuildOptions
    from jobs.predict import PredictSummary, predict_rows
    from jobs.predict_plan import PredictOptions
    from jobs.pretraining import PretrainOptions, pretrain
    from jobs.query import Hit, Index, open_index
    from jobs.static_distillation import (
        DistilStaticOptions,
        DistilStaticSummary,
        distil_static,
    )
    from jobs.summary import BuildSummary
    from jobs.training_summary import TrainingSummary
    from jobs.word_folder import WordFolder, open_words
    from jobs.word_scores import evaluate_words
    from jobs.word_training import TrainWordsSummary, train_words
    from jobs.word_training_options import Method, TrainWordsOptions

__all__ = [
    "BlendOptions",
    "BuildOptions",
    "BuildSummary",
    "Comparison",
    "DistilLayersOptions",
    "DistilStaticOptions",
    "DistilStaticSummary",
    "FinetuneOptions",
    "Hit",
    "Index",
    "Method",
    "PredictOptions",
    "PredictSummary",
    "PretrainOptions",
    "TrainWordsOptions",
    "TrainWordsSummary",
    "TrainingSummary",
    "WordFolder",
    "blend",
    "build_index",
    "compare_word",
    "distil_layers",
    "distil_static",
    "evaluate_words",
    "finetune",
    "open_index",
    "open_words",
    "predict_rows",
    "pretrain",
    "train_words",
]

_HOMES = {
    "BlendOptions": "jobs.blending",
    "BuildOptions": "jobs.plan",
    "BuildSummary": "jobs.summary",
    "Comparison": "jobs.comparison",
    "DistilLayersOptions": "jobs.layer_distillation",
    "DistilStaticOptions": "jobs.static_distillation",
    "DistilStaticSummary": "jobs.static_distillation",
    "FinetuneOptions": "jobs.finetuning",
    "Hit": "jobs.query",
    "Index": "jobs.query",
    "Method": "jobs.word_training_options",
    "PredictOptions": "jobs.predict_plan",
    "PredictSummary": "jobs.predict",
    "PretrainOptions": "jobs.pretraining",
    "TrainWordsOptions": "jobs.word_training_options",
    "TrainWordsSummary": "jobs.word_training",
    "TrainingSummary": "jobs.training_summary",
    "WordFolder": "jobs.word_folder",
    "blend": "jobs.blending",
    "build_index": "jobs.build",
    "compare_word": "jobs.comparison",
    "distil_layers": "jobs.layer_distillation",
    "distil_static": "jobs.static_distillation",
    "evaluate_words": "jobs.word_scores",
    "finetune": "jobs.finetuning",
    "open_index": "jobs.query",
    "open_words": "jobs.word_folder",
    "predict_rows": "jobs.predict",
    "pretrain": "jobs.pretraining",
    "train_words": "jobs.word_training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
