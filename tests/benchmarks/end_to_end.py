"""Parquet to committed index, against sentence-transformers at its defaults with FAISS.

Whole processes are timed: start, imports, loading the model, encoding, writing. What happens once
per model and machine (the export; for int8 also the calibration) is timed apart.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness import (
    ChildFailedError,
    Measured,
    alternate,
    child,
    environment,
    measure,
    peak,
    print_machine,
    print_table,
    ratio_of_pairs,
    run_child,
    spread,
    tool,
)

BASELINE = "sentence-transformers, defaults"
N_WARM = 64
N_CHECKED = 2000
SEED = 1729


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="embedder-bench-") as folder:
        bench = _Bench(options, Path(folder))
        once = bench.prepare()
        results, failed = alternate(bench.runs(), options.rounds)
        bench.report(results, failed | bench.failed, once)
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", metavar="CORPUS.parquet")
    parser.add_argument("--text", default="", help="text column, if it is not found by itself")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "int8"])
    return parser.parse_args()


class _Bench:
    """The runs of one comparison, in a folder of their own with a cache of their own."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._precisions: list[str] = options.precisions
        self._folder = folder
        self._env = environment(EMBEDDER_CACHE=folder / "cache")
        self._rows, self._few = folder / "rows.parquet", folder / "few.parquet"
        self.failed: dict[str, str] = {}
        for n_rows, path in ((N_WARM, self._few), (options.rows, self._rows)):
            made = self._child("cut", options.corpus, options.text, n_rows, path).json()
        self._text: str = made["text"]
        self._model: str = made["model"]
        self._n_documents: int = made["n_documents"]

    def prepare(self) -> dict[str, float]:
        """Fill the caches; seconds of what is done once, by precision."""
        self._child("baseline", self._model, self._few, self._text, self._folder / "few.faiss")
        once: dict[str, float] = {}
        for precision in self._precisions:
            try:
                first, again = (
                    self._child("open", self._rows, self._text, precision) for _ in range(2)
                )
            except ChildFailedError as error:
                self.failed[precision] = str(error)
                continue
            once[precision] = first.seconds - again.seconds
        return once

    def runs(self) -> dict[str, Callable[[], Measured]]:
        """What is timed, by name."""
        usable = [p for p in self._precisions if p not in self.failed]
        with_senses = {p: self._index_at(p, p) for p in usable}
        without = {f"{p}, no senses": p for p in usable}
        return {
            BASELINE: self._baseline,
            **with_senses,
            **{name: self._index_at(name, p, "--no-senses") for name, p in without.items()},
        }

    def report(
        self, results: dict[str, list[Measured]], failed: dict[str, str], once: dict[str, float]
    ) -> None:
        """Print the table and what is needed to read it."""
        baseline = [run.seconds for run in results.get(BASELINE, [])]
        table = []
        for name, runs in results.items():
            seconds = [run.seconds for run in runs]
            found = {} if name == BASELINE else runs[-1].json()
            table.append(
                [
                    name,
                    spread(seconds, ",.1f"),
                    spread([self._n_documents / s for s in seconds], ",.0f"),
                    ratio_of_pairs(baseline, seconds) if baseline else "",
                    peak(runs),
                    self._cosine(name) if found else "",
                ]
            )
        table += [[name, f"not available: {why}", "", "", "", ""] for name, why in failed.items()]
        head = ["run", "seconds", "documents/s", "times as fast", "peak MiB", "cosine mean / min"]
        print_table(head, table)
        print(f"\n{self._n_documents:,} documents; medians over the rounds, ranges in brackets;")
        print("cosine of the stored vectors to torch fp32, all passages of", end=" ")
        print(f"{min(N_CHECKED, self._n_documents):,} random documents.")
        for name, runs in results.items():
            if name != BASELINE:
                found = runs[-1].json()
                print(
                    f"{name}: {found['n_passages']:,} passages, {found['n_tokens']:,} tokens "
                    f"encoded, {found['n_reused']:,} passages had a text encoded already, "
                    f"{found['padding_share']:.1%} padding, {', '.join(found['structures'])}."
                )
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in once.items())
        print(f"Done once and not in the table (each after those before it): {parts or 'nothing'}.")

    def _baseline(self) -> Measured:
        out = self._folder / "baseline.faiss"
        return self._child("baseline", self._model, self._rows, self._text, out)

    def _index_at(self, name: str, precision: str, *options: str) -> Callable[[], Measured]:
        def index() -> Measured:
            out = self._out(name)
            shutil.rmtree(out, ignore_errors=True)
            columns = ["--text", self._text, "--precision", precision, "--format", "json"]
            return measure(tool("index", self._rows, "--out", out, *columns, *options), self._env)

        return index

    def _cosine(self, name: str) -> str:
        found = self._child("cosine", self._out(name), N_CHECKED).json()
        return f"{found['mean']:.5f} / {found['min']:.5f}"

    def _out(self, name: str) -> Path:
        return self._folder / f"{name}.index"

    def _child(self, name: str, *arguments: object) -> Measured:
        return measure(child(__file__, name, *arguments), self._env)


def cut_corpus(corpus: str, text: str, n_rows: str, out: str) -> None:
    """Write the first rows of a corpus in row groups of the same size; print what is in them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from embedder.checkpoint import open_checkpoint
    from embedder.columns import ColumnRequest
    from embedder.corpus import open_corpus

    file, wanted = pq.ParquetFile(corpus), int(n_rows)
    size = file.metadata.row_group(0).num_rows
    batches, n_read = [], 0
    for batch in file.iter_batches(min(size, wanted)):
        batches.append(batch)
        n_read += len(batch)
        if n_read >= wanted:
            break
    pq.write_table(pa.Table.from_batches(batches).slice(0, wanted), out, row_group_size=size)
    column = open_corpus([out], ColumnRequest(text=text or None)).columns.text
    found = {"n_documents": len(_texts(out, column)), "text": column}
    print(json.dumps({**found, "model": str(open_checkpoint().folder)}))


def _texts(corpus: str, column: str) -> list[str]:
    """What is embedded: the texts that are neither null nor blank."""
    import pyarrow.parquet as pq

    values = pq.read_table(corpus, columns=[column]).column(column).to_pylist()
    return [text for text in values if text and text.strip()]


def build_baseline(model: str, corpus: str, text: str, out: str) -> None:
    """What one would write with sentence-transformers and FAISS."""
    import faiss
    from sentence_transformers import SentenceTransformer

    texts = _texts(corpus, text)
    rows = SentenceTransformer(model).encode(texts, show_progress_bar=False)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    faiss.write_index(index, out)


def open_only(corpus: str, text: str, precision: str) -> None:
    """Do all that a build does before it encodes, the export and the calibration included."""
    from embedder.columns import ColumnRequest
    from embedder.encoders import EncoderOptions
    from embedder.specs import Precision
    from jobs.plan import BuildOptions, plan_build

    encoder = EncoderOptions(precision=Precision(precision))
    out = Path(corpus).with_name("never-made.index")
    columns = ColumnRequest(text=text)
    plan_build(BuildOptions(sources=(corpus,), out=out, columns=columns, encoder=encoder))


def print_cosine(index: str, n_documents: str) -> None:
    """Cosine of stored vectors to torch fp32, over all passages of some random documents."""
    import numpy as np
    import pyarrow.parquet as pq

    from embedder.encoders import EncoderOptions, open_encoder
    from embedder.specs import Engine, Precision
    from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, Layout
    from indexes.manifest_file import read_manifest
    from indexes.segments import open_vectors

    layout = Layout(Path(index))
    manifest = read_manifest(layout)
    n_wanted = min(int(n_documents), manifest.n_documents)
    chosen = set(random.Random(SEED).sample(range(manifest.n_documents), n_wanted))
    texts: list[str] = []
    stored, first = [], 0
    for segment in manifest.segments:
        folder = layout.segment(segment.id)
        documents = pq.read_table(folder / DOCUMENTS_FILE, columns=["__text"])["__text"].to_pylist()
        passages = pq.read_table(folder / PASSAGES_FILE).to_pylist()
        rows = open_vectors(layout, segment, manifest.encoder.width)
        for passage, row in zip(passages, rows, strict=True):
            if first + passage["document"] in chosen:
                stretch = slice(passage["start"], passage["end"])
                texts.append(documents[passage["document"]][stretch])
                stored.append(np.asarray(row, dtype=np.float64))
        first += segment.n_documents
    options = EncoderOptions(engine=Engine.TORCH, precision=Precision.FP32, device="cpu")
    reference = open_encoder(options).encode(texts).astype(np.float64)
    found = np.stack(stored)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(reference, axis=1)
    cosines = np.einsum("ij,ij->i", found, reference) / lengths
    print(json.dumps({"mean": float(cosines.mean()), "min": float(cosines.min())}))


CHILDREN = {
    "cut": cut_corpus,
    "baseline": build_baseline,
    "open": open_only,
    "cosine": print_cosine,
}

if __name__ == "__main__" and not run_child(CHILDREN):
    main()
