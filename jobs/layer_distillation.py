"""`embedder distil --layers`: a network with fewer layers that gives what its teacher gives."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embedder.pairs import ScoredPair, read_scored_pairs
from embedder.training.distillation.options import DistillationOptions
from embedder.training.options import TrainingOptions
from embedder.training.run import Estimate, TrainingRun
from indexes.durable import record_file
from jobs.corpus_texts import CorpusTexts
from jobs.finetuning import RESUMABLE
from jobs.progress import Progress
from jobs.training_summary import TrainingSummary

USAGE = "embedder index corpus.parquet --model {out}"
"""The command that uses what came out."""


@dataclass(frozen=True, kw_only=True)
class DistilLayersOptions:
    """What to distil, on what, and where to.

    Args:
        sources: Parquet files, folders, globs or URLs.
        out: the model folder, which must not be there.
        distillation: teacher, student, and how text becomes examples.
        text: the columns with text; none to find the one there is.
        limit: only the first so many rows.
        dev: Parquet of scored pairs by which teacher and student are measured.
        training: how to train.
        restart: begin anew where an unfinished run is there.
    """

    sources: Sequence[str]
    out: str | Path
    distillation: DistillationOptions
    text: Sequence[str] = ()
    limit: int | None = None
    dev: str | Path | None = None
    training: TrainingOptions = field(default_factory=TrainingOptions)
    restart: bool = False


def distil_layers(
    options: DistilLayersOptions, progress: Progress | None = None
) -> TrainingSummary:
    """Train a student, and write it; the folder appears when it is complete.

    Killed at any moment, the same call goes on where it was, and ends with the same weights.

    Args:
        options: what, on what and where to.
        progress: told of what happens; silent by default.

    Raises:
        EmbedderError: see the subclasses.
    """
    from embedder.training.distillation.preparation import check_teacher
    from jobs.training_folder import train_folder

    progress, started = progress or Progress(), time.monotonic()
    progress.start_stage("opening")
    checkpoint = check_teacher(options.distillation)
    corpus = CorpusTexts(options.sources, options.text, options.limit, progress)
    pairs = _pairs(options)
    return train_folder(
        lambda room: _prepare(options, corpus, pairs, room),
        options.training,
        options.out,
        request=_request(options, corpus, checkpoint.spec().fingerprint),
        names={
            "sources": list(options.sources),
            "model": options.distillation.model,
            "eval": None if options.dev is None else str(options.dev),
        },
        title=f"{Path(options.out).name}: {options.distillation.layers} layers of "
        f"{checkpoint.name}, distilled on {corpus.title}",
        usage=USAGE.format(out=options.out),
        progress=progress,
        restart=options.restart,
        started=started,
    )


def estimate_distil_layers(
    options: DistilLayersOptions, progress: Progress | None = None
) -> tuple[Estimate, dict[str, Any]]:
    """What `distil_layers` would take, from a few steps, and the facts of the corpus; writes
    nothing but a temporary folder.

    Raises:
        EmbedderError: see the subclasses; all that distil_layers would raise before it trains.
    """
    from embedder.training.estimate import estimate
    from jobs.output import check_new_folder

    check_new_folder(options.out)
    corpus = CorpusTexts(options.sources, options.text, options.limit, progress or Progress())
    with tempfile.TemporaryDirectory(prefix="embedder-") as room:
        run = _prepare(options, corpus, _pairs(options), Path(room))
        return estimate(run, options.training), run.facts


def _pairs(options: DistilLayersOptions) -> list[ScoredPair]:
    return read_scored_pairs(options.dev) if options.dev is not None else []


def _prepare(
    options: DistilLayersOptions, corpus: CorpusTexts, pairs: Sequence[ScoredPair], room: Path
) -> TrainingRun:
    from embedder.training.distillation.preparation import prepare_distillation

    asked, seed = options.distillation, options.training.seed
    with corpus.remembering(room):
        run = prepare_distillation(corpus, asked, pairs, room, seed=seed)
    run.facts |= corpus.facts()
    return run


def _request(options: DistilLayersOptions, corpus: CorpusTexts, teacher: str) -> dict[str, Any]:
    """All that changes the result; the corpus and the teacher by their content."""
    dev, asked = options.dev, asdict(options.distillation)
    return {
        "text": list(options.text),
        "limit": options.limit,
        "corpus digest": corpus.digest(),
        "teacher digest": teacher,
        "eval digest": None if dev is None else record_file(Path(dev)).sha256,
        "distillation": {k: v for k, v in asked.items() if k != "model"},
        "training": {k: v for k, v in asdict(options.training).items() if k not in RESUMABLE},
    }
