"""Texts in, vectors out: tokens per second of several engines over one model, and their accuracy.

Loading, exporting and a first small batch are not timed; tokenising is. Each engine runs in a fresh
process, in turn, round after round. An engine that is not installed gets a row that says so. Some
cannot share an environment with this project; `--python PATTERN=PATH` names their own interpreter,
as in `--python "st-onnx=onnx-venv/bin/python"`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from harness import (
    Measured,
    alternate,
    child,
    environment,
    measure,
    print_machine,
    print_table,
    ratio_of_pairs,
    run_child,
    spread,
    versions,
)

N_WARM = 64
N_CALIBRATION = 250
ONNX_BATCH = 256  # fastembed's default
BATCH_TOKENS = 16_384
REFERENCE = "torch-fp32"
BASELINE = "st-torch"

Encode = Callable[[Sequence[str]], Any]
"""Texts to a float32 array, shape (len(texts), width)."""


@dataclass(frozen=True)
class Work:
    """What every engine is given; plain values, so that no engine needs this project to read it.

    Args:
        model: the model folder.
        texts: what to encode.
        calibration: what to calibrate int8 on.
        max_tokens: where texts are cut off.
        n_tokens: tokens of the texts, cut off, special tokens included.
        scratch: folder for exports, kept between rounds.
    """

    model: str
    texts: list[str]
    calibration: list[str]
    max_tokens: int
    n_tokens: int
    scratch: str


def open_sentence_transformers(work: Work, backend: str, **model_kwargs: Any) -> Encode:
    """sentence-transformers at its defaults, with one of its backends."""
    from sentence_transformers import SentenceTransformer

    # An older release passes `model_kwargs` on to a backend and would not expect an empty one.
    kwargs = {"model_kwargs": model_kwargs} if model_kwargs else {}
    model = SentenceTransformer(work.model, backend=backend, **kwargs)
    return partial(model.encode, show_progress_bar=False)


def open_onnx_int8(work: Work) -> Encode:
    """ONNX Runtime over dynamically quantised weights, fed as fastembed feeds it."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{work.model}/tokenizer.json")
    tokenizer.enable_truncation(work.max_tokens)
    tokenizer.enable_padding()  # to the longest of the batch
    session = onnxruntime.InferenceSession(
        _quantised_onnx(work), providers=["CPUExecutionProvider"]
    )

    def encode(texts: Sequence[str]) -> Any:
        parts = []
        for start in range(0, len(texts), ONNX_BATCH):
            found = tokenizer.encode_batch(list(texts[start : start + ONNX_BATCH]))
            ids = np.array([e.ids for e in found], dtype=np.int64)
            mask = np.array([e.attention_mask for e in found], dtype=np.int64)
            [states] = session.run(None, {"input_ids": ids, "attention_mask": mask})
            rows = (states * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
            parts.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        return np.concatenate(parts)

    return encode


def _quantised_onnx(work: Work) -> str:
    plain, quantised = (Path(work.scratch, f"{name}.onnx") for name in ("fp32", "int8"))
    if quantised.exists():
        return str(quantised)
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # Attention of plain operators, which every exporter knows.
            self.bert = AutoModel.from_pretrained(work.model, attn_implementation="eager").eval()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            # What is added to the scores, made here: tracing fails on how transformers makes it.
            scores = (1 - attention_mask[:, None, None, :].float()) * torch.finfo().min
            return self.bert(input_ids=input_ids, attention_mask=scores)[0]

    ids = torch.full((2, 16), 5)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "n_texts", 1: "length"} for name in [*names, "states"]}
    torch.onnx.export(
        Network(),
        (ids, mask),
        str(plain),
        input_names=names,
        output_names=["states"],
        dynamic_axes=axes,
        dynamo=False,
    )
    # Per tensor, the default, it is much less exact: mean cosine .955 for .994.
    quantize_dynamic(plain, quantised, per_channel=True, weight_type=QuantType.QInt8)
    return str(quantised)


def open_transformers_bf16(work: Work) -> Encode:
    """transformers as one would write it with care: bf16, sorted by length, large batches."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(work.model)
    model = AutoModel.from_pretrained(work.model, dtype=torch.bfloat16).eval()

    def encode(texts: Sequence[str]) -> Any:
        pieces = tokenizer(list(texts), truncation=True, max_length=work.max_tokens)["input_ids"]
        rows = torch.empty(len(texts), model.config.hidden_size)
        with torch.inference_mode():
            for batch in _sorted_batches([len(ids) for ids in pieces]):
                padded = tokenizer.pad(
                    {"input_ids": [pieces[i] for i in batch]}, return_tensors="pt"
                )
                mask = padded["attention_mask"]
                states = model(**padded).last_hidden_state.float()
                means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
                rows[batch] = torch.nn.functional.normalize(means)
        return rows.numpy()

    return encode


def _sorted_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    yield batch


def open_ours(work: Work, engine: str, precision: str) -> Encode:
    """An encoder of this project."""
    from embedder.encoders import EncoderOptions, open_encoder
    from embedder.specs import Engine, Precision

    options = EncoderOptions(engine=Engine(engine), precision=Precision(precision), device="cpu")
    return open_encoder(options, calibration=lambda: work.calibration).encode


ST_LIBRARIES = ("sentence-transformers", "transformers", "torch")
ENGINES: dict[str, tuple[str, Callable[[Work], Encode], tuple[str, ...]]] = {
    # name: what it is, how it is opened, the libraries whose versions matter
    BASELINE: (
        "sentence-transformers, defaults",
        partial(open_sentence_transformers, backend="torch"),
        ST_LIBRARIES,
    ),
    "st-bf16": (
        "sentence-transformers, bf16",
        partial(open_sentence_transformers, backend="torch", dtype="bfloat16"),
        ST_LIBRARIES,
    ),
    "st-onnx": (
        "sentence-transformers, ONNX",
        partial(open_sentence_transformers, backend="onnx"),
        ("sentence-transformers", "optimum-onnx", "onnxruntime"),
    ),
    "st-openvino": (
        "sentence-transformers, OpenVINO",
        partial(open_sentence_transformers, backend="openvino"),
        ("sentence-transformers", "optimum-intel", "openvino"),
    ),
    "onnx-int8": (
        "ONNX Runtime, dynamic int8, batches of 256",
        open_onnx_int8,
        ("onnxruntime",),
    ),
    "transformers-bf16": (
        "transformers, bf16, sorted, 16k-token batches",
        open_transformers_bf16,
        ("transformers", "torch"),
    ),
    REFERENCE: (
        "embedder, torch fp32",
        partial(open_ours, engine="torch", precision="fp32"),
        ("torch",),
    ),
    "fp32": (
        "embedder, OpenVINO fp32",
        partial(open_ours, engine="openvino", precision="fp32"),
        ("openvino",),
    ),
    "bf16": (
        "embedder, OpenVINO bf16",
        partial(open_ours, engine="openvino", precision="bf16"),
        ("openvino",),
    ),
    "int8": (
        "embedder, OpenVINO int8",
        partial(open_ours, engine="openvino", precision="int8"),
        ("openvino", "nncf"),
    ),
}


def main() -> None:
    """Measure and print."""
    options = _options()
    names = [name for name in ENGINES if name in {*options.engines, REFERENCE}]
    with tempfile.TemporaryDirectory(prefix="embedder-bench-") as name:
        folder = Path(name)
        env = environment(EMBEDDER_CACHE=folder / "cache")
        arguments = (options.corpus, options.text, options.rows, folder)
        n_tokens = measure(child(__file__, "prepare", *arguments), env).json()["n_tokens"]

        def run(engine: str) -> Measured:
            python = _python_of(engine, options.python)
            return measure(child(__file__, "encode", engine, folder, python=python), env)

        results, failed = alternate({n: partial(run, n) for n in names}, options.rounds)
        cosines = measure(child(__file__, "compare", folder, *results), env).json()
    _report(n_tokens, results, failed, cosines)
    print(f"\n{n_tokens:,} tokens; medians over the rounds, ranges in brackets.")
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", metavar="CORPUS.parquet")
    parser.add_argument("--text", default="", help="text column, if it is not found by itself")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--python", action="append", default=[], metavar="PATTERN=PATH")
    return parser.parse_args()


def _python_of(engine: str, choices: Sequence[str]) -> str:
    for choice in choices:
        pattern, _, path = choice.partition("=")
        if fnmatch(engine, pattern):
            return path
    return sys.executable


def _report(
    n_tokens: int,
    results: dict[str, list[Measured]],
    failed: dict[str, str],
    cosines: dict[str, list[float]],
) -> None:
    found = {name: [run.json() for run in runs] for name, runs in results.items()}
    seconds = {name: [run["seconds"] for run in runs] for name, runs in found.items()}
    table = []
    for name, (title, _, _) in ENGINES.items():
        if name in failed:
            table.append([title, f"not available: {failed[name]}", "", "", ""])
        elif name in found:
            rates = [n_tokens / s for s in seconds[name]]
            ratio = ratio_of_pairs(seconds[BASELINE], seconds[name]) if BASELINE in found else ""
            mean, least = cosines[name]
            cosine = f"{mean:.5f} / {least:.5f}"
            row = [title, spread(rates, ",.0f"), ratio, cosine, found[name][0]["versions"]]
            table.append(row)
    head = ["engine", "tokens/s", "times as fast", "cosine to fp32, mean / min", "libraries"]
    print_table(head, table)


def prepare(corpus: str, text: str, n_rows: str, folder: str) -> None:
    """Write the work to `work.json`."""
    from itertools import chain, islice

    from embedder.checkpoint import open_checkpoint
    from embedder.columns import ColumnRequest
    from embedder.corpus import open_corpus, read_shards
    from embedder.tokens import Tokenizer
    from jobs.plan import sample_texts

    opened = open_corpus([corpus], ColumnRequest(text=text or None, metadata=()))
    shards = opened.shards(int(n_rows))
    texts = list(
        islice(chain.from_iterable(rows.texts for rows in read_shards(shards, opened)), int(n_rows))
    )
    checkpoint = open_checkpoint()
    most = checkpoint.max_tokens
    lengths = [min(len(ids), most) for ids in Tokenizer(checkpoint).encode(texts)]
    work = Work(
        model=str(checkpoint.folder),
        texts=texts,
        calibration=sample_texts(opened, opened.shards(None), N_CALIBRATION),
        max_tokens=most,
        n_tokens=sum(lengths),
        scratch=folder,
    )
    Path(folder, "work.json").write_text(json.dumps(vars(work)), "utf-8")
    print(json.dumps({"n_tokens": work.n_tokens}))


def encode_once(engine: str, folder: str) -> None:
    """Encode the work with one engine; print the seconds and keep the vectors."""
    import numpy as np

    work = Work(**json.loads(Path(folder, "work.json").read_text("utf-8")))
    _, open_engine, libraries = ENGINES[engine]
    encode = open_engine(work)
    encode(work.texts[:N_WARM])
    started = time.perf_counter()
    rows = encode(work.texts)
    seconds = time.perf_counter() - started
    np.save(Path(folder, f"{engine}.npy"), np.asarray(rows, dtype=np.float32))
    print("\n" + json.dumps({"seconds": seconds, "versions": versions(libraries)}))


def compare(folder: str, *engines: str) -> None:
    """Print mean and least cosine of each engine's vectors to those of the reference."""
    import numpy as np

    def unit_rows(engine: str) -> Any:
        rows = np.load(Path(folder, f"{engine}.npy")).astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    reference = unit_rows(REFERENCE)
    cosines = {name: np.einsum("ij,ij->i", unit_rows(name), reference) for name in engines}
    print(json.dumps({name: [float(c.mean()), float(c.min())] for name, c in cosines.items()}))


CHILDREN = {"prepare": prepare, "encode": encode_once, "compare": compare}

if __name__ == "__main__" and not run_child(CHILDREN):
    main()
