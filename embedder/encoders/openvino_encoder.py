"""The OpenVINO engine: the fastest on a CPU, and the one that answers a query without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from openvino import Core

from embedder.checkpoint import Checkpoint
from embedder.encoders.export import HINTS, graph_path, is_bf16_supported
from embedder.encoders.protocol import Encoded
from embedder.errors import EngineError, cause_of
from embedder.specs import EncoderSpec, Precision
from embedder.tokens import TokenBatch
from embedder.vectors import Rows, normalise


class OpenVINOEncoder:
    """Runs an exported graph on the CPU.

    Args:
        graph: the graph's file.
        spec: what determines the vectors.
        threads: CPU threads; all cores when None.

    Raises:
        EngineError: the graph cannot be compiled here.
    """

    def __init__(self, graph: Path, spec: EncoderSpec, *, threads: int | None = None) -> None:
        self.spec = spec
        self.description = f"OpenVINO {spec.precision} on cpu"
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": HINTS[spec.precision],
            "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            self._request = Core().compile_model(graph, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot compile {graph}: {cause_of(error)}.",
                "Delete that folder to export the model again, or use --engine torch.",
            ) from error

    def encode(self, batch: TokenBatch) -> Rows:
        """See `Encoder.encode`."""
        return self.encode_states(batch).rows

    def encode_states(self, batch: TokenBatch) -> Encoded:
        """See `Encoder.encode_states`."""
        inputs = {"piece_ids": batch.piece_ids, "attention_mask": batch.attention_mask}
        try:
            rows, states = self._request.infer(inputs, share_inputs=True).values()
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO failed on a batch of {batch.piece_ids.size} tokens: {cause_of(error)}.",
                "Use a smaller --max-batch-tokens, or --engine torch.",
            ) from error
        # The graph normalises at its own precision; bf16 leaves lengths off by a thousandth.
        return Encoded(
            normalise(np.asarray(rows, dtype=np.float32)), np.asarray(states, dtype=np.float32)
        )


def open_openvino(
    checkpoint: Checkpoint,
    spec: EncoderSpec,
    *,
    texts: Sequence[str] = (),
    threads: int | None = None,
) -> OpenVINOEncoder:
    """An engine over a checkpoint, exported the first time.

    Args:
        checkpoint: the model folder.
        spec: what determines the vectors.
        texts: the texts that calibrate int8.
        threads: CPU threads; all cores when None.

    Raises:
        EngineError: see `graph_path`; or the precision is not this processor's.
    """
    if spec.precision is Precision.BF16 and not is_bf16_supported():
        raise EngineError("This processor has no bf16 arithmetic.", "Use --precision fp32 or int8.")
    return OpenVINOEncoder(graph_path(checkpoint, spec, texts), spec, threads=threads)
