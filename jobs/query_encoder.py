"""The encoder of an index's vector space, for queries."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.encoders.text import DEFAULT_BATCH_TOKENS
from embedder.errors import EngineError, IndexMismatchError, ModelError
from embedder.specs import EncoderSpec, Engine, Precision
from indexes.manifest import Manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """How to run queries. None means: the best this machine has.

    Args:
        model: where the model is now, if not where the index found it.
        engine: what runs the network.
        precision: arithmetic of the queries' forward pass.
        device: `cpu`, `cuda`, `mps`.
        threads: CPU threads.
        max_batch_tokens: padded tokens of one forward pass.
    """

    model: str | None = None
    engine: Engine | None = None
    precision: Precision | None = None
    device: str | None = None
    threads: int | None = None
    max_batch_tokens: int = DEFAULT_BATCH_TOKENS


def open_query_encoder(manifest: Manifest, options: QueryOptions) -> TextEncoder:
    """An encoder of the index's vector space.

    Queries of an int8 index are encoded at full precision: that needs no calibration, and the
    query's own error goes away.
    """
    built = manifest.encoder
    precision = options.precision
    if precision is None and built.precision is not Precision.INT8:
        precision = built.precision
    wanted = EncoderOptions(
        model=options.model or built.model,
        engine=options.engine,
        precision=precision,
        device=options.device or ("cpu" if options.engine is not Engine.TORCH else None),
        threads=options.threads,
        pooling=built.pooling,
        layers=built.layers,
        max_tokens=built.max_tokens,
        query_prompt=built.query_prompt,
        passage_prompt=built.passage_prompt,
        max_batch_tokens=options.max_batch_tokens,
    )
    try:
        encoder = _open(wanted, is_free=options.precision is None)
    except ModelError as error:
        raise ModelError(
            f"The index was built with the model {built.model}. {error.message}",
            "Say where the model is now with --model.",
        ) from error
    _check_space(built, encoder.encoder.spec)
    return encoder


def _open(wanted: EncoderOptions, *, is_free: bool) -> TextEncoder:
    """The encoder at the index's precision, or at the best there is where that is missing."""
    try:
        return open_encoder(wanted)
    except EngineError as error:
        if not is_free or wanted.precision is None:
            raise
        log.warning("%s", error.message)
        return open_encoder(replace(wanted, precision=None))


def _check_space(built: EncoderSpec, found: EncoderSpec) -> None:
    if built.space == found.space:
        return
    before, now = built.to_json(), found.to_json()
    skipped = ("model", "precision", "calibration")
    changed = [name for name in before if name not in skipped and before[name] != now[name]]
    raise IndexMismatchError(
        f"The index was built with another encoder: {', '.join(changed)} of {found.model} "
        f"differ{'s' if len(changed) == 1 else ''} from those of {built.model} at that time.",
        "Name the model it was built with in --model, or build the index again with: embedder "
        f"index SOURCES --model {found.model} --out NEW.index",
    )
