"""`embedder pretrain` and `embedder finetune adapt`: a network that learns from text alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embedder.checkpoint import open_checkpoint
from embedder.errors import ModelError
from embedder.model_location import locate_model
from embedder.training.options import TrainingOptions
from embedder.training.pretraining.options import PretrainingOptions
from embedder.training.run import Estimate, TrainingRun
from indexes.durable import record_file
from jobs.corpus_texts import CorpusTexts
from jobs.finetuning import RESUMABLE
from jobs.progress import Progress
from jobs.training_summary import TrainingSummary

USAGE = "embedder index corpus.parquet --model {out}"
"""The command that uses what came out."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """What to learn from, and where to.

    Args:
        sources: Parquet files, folders, globs or URLs.
        out: the model folder, which must not be there.
        text: the column with the text; None to find it.
        limit: only the first so many rows.
        pretraining: how text becomes examples, and what network learns from them.
        training: how to train.
        restart: begin anew where an unfinished run is there.
    """

    sources: Sequence[str]
    out: str | Path
    text: str | None = None
    limit: int | None = None
    pretraining: PretrainingOptions = field(default_factory=PretrainingOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    restart: bool = False


def pretrain(options: PretrainOptions, progress: Progress | None = None) -> TrainingSummary:
    """Train a network on text, and write it; the folder appears when it is complete.

    Killed at any moment, the same call goes on where it was, and ends with the same weights.
    Started by torchrun or accelerate launch, all processes train together and one of them writes.

    Args:
        options: what on, how and where to.
        progress: told of what happens; silent by default.

    Raises:
        EmbedderError: see the subclasses.
    """
    from jobs.training_folder import train_folder

    progress, started = progress or Progress(), time.monotonic()
    progress.start_stage("opening")
    corpus = _open(options, progress)
    verb = "adapted" if options.pretraining.is_adapted else "pre-trained"
    return train_folder(
        lambda room: _prepare(options, corpus, room),
        options.training,
        options.out,
        request=_request(options, corpus),
        names={
            "sources": list(options.sources),
            "model": options.pretraining.model,
            "tokenizer": options.pretraining.tokenizer,
        },
        title=f"{Path(options.out).name}: {verb} on {corpus.title}",
        usage=USAGE.format(out=options.out),
        progress=progress,
        restart=options.restart,
        started=started,
    )


def estimate_pretrain(
    options: PretrainOptions, progress: Progress | None = None
) -> tuple[Estimate, dict[str, Any]]:
    """What `pretrain` would take, from a few steps, and the facts of the corpus; writes nothing
    but a temporary folder.

    Raises:
        EmbedderError: see the subclasses; all that pretrain would raise before it trains.
    """
    from embedder.training.estimate import estimate
    from jobs.output import check_new_folder

    check_new_folder(options.out)
    corpus = _open(options, progress or Progress())
    with tempfile.TemporaryDirectory(prefix="embedder-") as room:
        run = _prepare(options, corpus, Path(room))
        return estimate(run, options.training), run.facts


def _prepare(options: PretrainOptions, corpus: CorpusTexts, room: Path) -> TrainingRun:
    from embedder.training.pretraining.preparation import prepare_pretraining

    with corpus.remembering(room):
        run = prepare_pretraining(corpus, options.pretraining, options.training, room)
    run.facts |= corpus.facts()
    return run


def _open(options: PretrainOptions, progress: Progress) -> CorpusTexts:
    columns = () if options.text is None else (options.text,)
    return CorpusTexts(options.sources, columns, options.limit, progress)


def _request(options: PretrainOptions, corpus: CorpusTexts) -> dict[str, Any]:
    """All that changes the result; the corpus and the models by their content."""
    asked = options.pretraining
    digests = {}
    if asked.model is not None:
        digests["model digest"] = open_checkpoint(asked.model).spec().fingerprint
    if asked.tokenizer is not None:
        digests["tokenizer digest"] = _tokenizer_digest(asked.tokenizer)
    return {
        "text": options.text,
        "limit": options.limit,
        "corpus digest": corpus.digest(),
        **digests,
        "pretraining": {k: v for k, v in asdict(asked).items() if k not in ("model", "tokenizer")},
        "training": {k: v for k, v in asdict(options.training).items() if k not in RESUMABLE},
    }


def _tokenizer_digest(name: str) -> str:
    path = locate_model(name) / "tokenizer.json"
    try:
        return record_file(path).sha256
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror}.",
            "Name a model, or a folder that holds a tokenizer.json, with --tokenizer.",
        ) from error
