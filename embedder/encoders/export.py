"""Checkpoints to OpenVINO graphs, once per model and precision, kept in the cache folder."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import platform
import re
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import openvino
from openvino import Core

from embedder.cache import cached_folder
from embedder.checkpoint import Checkpoint
from embedder.encoders.parity import REFERENCE_TEXTS, check_parity, least_cosine
from embedder.encoders.text import TextEncoder
from embedder.errors import EngineError, cause_of
from embedder.specs import EncoderSpec, Precision, digest_of
from embedder.tokens import Tokenizer, padded_length

log = logging.getLogger(__name__)

GRAPH_FILE = "graph.xml"
PARITY_FILE = "parity.json"
EXPORT_VERSION = 3
"""Part of every key: raise it when the exported graph changes."""

SMOOTH_QUANT_ALPHA = 0.7
"""How much of the activations' range moves into the weights (Xiao et al. 2023, SmoothQuant).
On three samples of English text the bundled model's least cosine to fp32 was .994 to .996 at 0.7,
.980 to .987 at 0.5 and .989 to .992 at the library's 0.95; the mean was .998 at 0.7."""

HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16", Precision.INT8: "f32"}
"""Arithmetic of what is not quantised; at int8 that is little, and fp32 is as fast there."""


def graph_path(checkpoint: Checkpoint, spec: EncoderSpec, texts: Sequence[str] = ()) -> Path:
    """The graph of a checkpoint at a precision, exported and checked the first time.

    Args:
        checkpoint: the model folder.
        spec: what determines the vectors.
        texts: for int8, the texts that calibrate it, of which `spec.calibration` is the digest.

    Raises:
        EngineError: the model cannot be converted, or its vectors are too far from torch's.
    """
    if spec.precision is Precision.INT8:
        make = partial(_quantise, checkpoint, spec, texts)
        key = _key(spec, spec.calibration, "with vnni" if has_vnni() else "without vnni")
        return cached_folder(f"graphs/{key}", make) / GRAPH_FILE
    measured = "with bf16" if is_bf16_supported() else "without bf16"
    folder = cached_folder(f"graphs/{_key(spec, measured)}", partial(_export, checkpoint, spec))
    try:
        found = json.loads((folder / PARITY_FILE).read_text("utf-8"))
        least = float(found.get(spec.precision.value, "nan"))
    except (OSError, ValueError, AttributeError) as error:
        raise EngineError(
            f"The exported network in {folder} is damaged: {error}.",
            "Remove that folder; it is made again.",
        ) from error
    check_parity(spec.precision, least, engine="OpenVINO", model=checkpoint.name)
    return folder / GRAPH_FILE


def _key(spec: EncoderSpec, *more: str) -> str:
    versions = [EXPORT_VERSION, version("openvino")]
    return digest_of([spec.weights, spec.tokenizer, spec.pooling, spec.layers, *versions, *more])


def is_bf16_supported() -> bool:
    """Whether this processor has bf16 arithmetic; without it the hint would be ignored."""
    return "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _export(checkpoint: Checkpoint, spec: EncoderSpec, folder: Path) -> None:
    """Fill `folder` with the fp32 graph and its measured parity at every precision it serves."""
    from embedder.encoders.openvino_encoder import OpenVINOEncoder

    log.info("exporting %s to OpenVINO (once)", checkpoint.name)
    tokenizer = Tokenizer(checkpoint)
    graph = _convert(checkpoint, spec)
    openvino.save_model(graph, folder / GRAPH_FILE, compress_to_fp16=False)
    del graph
    gc.collect()
    reference = _reference(checkpoint, spec, tokenizer).encode(REFERENCE_TEXTS)
    found: dict[str, float] = {}
    for precision in (Precision.FP32, Precision.BF16):
        if precision is Precision.BF16 and not is_bf16_supported():
            continue
        engine = OpenVINOEncoder(folder / GRAPH_FILE, spec.for_queries(precision))
        rows = TextEncoder(tokenizer, engine).encode(REFERENCE_TEXTS)
        found[precision] = least_cosine(rows, reference)
    # A graph that is wrong at fp32 is of no use; one that is too coarse at bf16 still is.
    check_parity(Precision.FP32, found[Precision.FP32], engine="OpenVINO", model=checkpoint.name)
    (folder / PARITY_FILE).write_text(json.dumps(found), "utf-8")


def _reference(checkpoint: Checkpoint, spec: EncoderSpec, tokenizer: Tokenizer) -> TextEncoder:
    from embedder.encoders.torch_encoder import TorchEncoder

    plain = spec.for_queries(Precision.FP32)
    return TextEncoder(tokenizer, TorchEncoder(checkpoint, plain, device="cpu"))


def _convert(checkpoint: Checkpoint, spec: EncoderSpec) -> Any:
    import torch
    import transformers

    from embedder.encoders.network import load_network

    network = load_network(checkpoint, spec)
    # Two texts of 16 pieces, the second padded: tracing must see that masks matter.
    piece_ids = torch.full((2, 16), 5 % int(checkpoint.config.get("vocab_size", 6)))
    mask = torch.ones((2, 16), dtype=torch.long)
    mask[1, 9:] = 0
    shape = openvino.PartialShape([-1, -1])
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            graph = openvino.convert_model(
                network,
                example_input=(piece_ids, mask),
                input=[
                    ("piece_ids", shape, openvino.Type.i64),
                    ("attention_mask", shape, openvino.Type.i64),
                ],
            )
    except Exception as error:  # the converter raises whatever the traced model raises
        raise EngineError(
            f"OpenVINO cannot convert the model {checkpoint.name}: {cause_of(error)}.",
            "Use --engine torch.",
        ) from error
    return graph


def has_vnni() -> bool:
    """Whether this processor adds products of bytes in 32 bits.

    An older x86 adds pairs of them in 16 bits first, which overflow. Where Linux does not tell,
    it has.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return True
    return (
        platform.machine() != "x86_64" or re.search(r"\b\w*(_vnni|amx_int8)\b", flags) is not None
    )


def _quantise(
    checkpoint: Checkpoint, spec: EncoderSpec, texts: Sequence[str], folder: Path
) -> None:
    """Fill `folder` with the int8 graph, weights and activations calibrated on `texts`."""
    from embedder.encoders.openvino_encoder import OpenVINOEncoder

    if digest_of(list(texts)) != spec.calibration:
        raise EngineError(
            "The texts that calibrated int8 are not the ones that the encoder's spec names.",
            "Give --precision bf16, or build the index again.",
        )
    base = graph_path(checkpoint, spec.for_queries(Precision.FP32))
    log.info("calibrating %s at int8 on %d texts (once)", checkpoint.name, len(texts))
    tokenizer = Tokenizer(checkpoint)
    reference = _reference(checkpoint, spec, tokenizer)
    encoded = tokenizer.encode([spec.passage_prompt + text for text in texts])
    pieces = [reference.cut(ids) for ids in encoded]

    def feed(index: int) -> dict[str, Any]:
        batch = tokenizer.batch([pieces[index]], padded_length(len(pieces[index])))
        return {"piece_ids": batch.piece_ids, "attention_mask": batch.attention_mask}

    with _silence():
        import nncf
        from nncf.quantization.advanced_parameters import (
            AdvancedQuantizationParameters,
            AdvancedSmoothQuantParameters,
            OverflowFix,
        )

        nncf.set_log_level(logging.ERROR)
        graph = nncf.quantize(
            Core().read_model(base),
            nncf.Dataset(range(len(pieces)), feed),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pieces),
            advanced_parameters=AdvancedQuantizationParameters(
                # Weights of seven bits where products of eight would overflow.
                overflow_fix=OverflowFix.DISABLE if has_vnni() else OverflowFix.ENABLE,
                smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=SMOOTH_QUANT_ALPHA),
            ),
        )
    openvino.save_model(graph, folder / GRAPH_FILE, compress_to_fp16=False)
    engine = OpenVINOEncoder(folder / GRAPH_FILE, spec)
    found = least_cosine(
        TextEncoder(tokenizer, engine).encode_pieces(pieces),
        reference.encode_pieces(pieces),
    )
    check_parity(Precision.INT8, found, engine="OpenVINO", model=checkpoint.name)
    (folder / PARITY_FILE).write_text(json.dumps({Precision.INT8.value: found}), "utf-8")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the calibrator's own progress bars off stdout, which belongs to results."""
    with (
        Path(os.devnull).open("w") as sink,
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        yield
