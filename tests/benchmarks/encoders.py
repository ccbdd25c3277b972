"""Encoders: what fine-tuning them for similarity, retrieval and senses brings, and what it takes.

Takes the folder of labelled data, which is not part of the project: the layout is that of
`BENCHMARKS`. Each is trained with the public commands, and measured before and after by
`embedder evaluate` on data that picked nothing. What follows `--` goes to every `finetune`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness import (
    SEED,
    ChildFailedError,
    child,
    draw,
    environment,
    evaluate,
    find_measure,
    measure,
    parse_options,
    print_machine,
    print_table,
    run_child,
    tool,
)

REST = "rest.parquet"
"""Rows of words that were not trained on, which thresholds are fitted on."""

HEAD = ["task", "trained on", "measured on", "measure", "before", "after", "published"]
COARSE = "coarsewsd20"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is measured before and after.

    Args:
        name: of the data.
        command: of `embedder evaluate`, without the files.
        files: relative to the folder of the data; a pattern stands for all that match.
        measures: which of those that are printed count.
        options: of the command.
        published: what others report, and where.
    """

    name: str
    command: tuple[str, ...]
    files: tuple[str, ...]
    measures: tuple[str, ...]
    options: tuple[str, ...] = ()
    published: str = ""


STSB = Measurement(
    name="STS-B test",
    command=("similarity",),
    files=("stsb/test.parquet",),
    measures=("spearman",),
    # The model's card; Reimers and Gurevych 2019, table 2, trained on NLI and STS-B
    published="bundled 82.03, SBERT-large 86.10",
)
SEARCHES = (
    Measurement(
        name="SQuAD dev",
        command=("retrieval",),
        files=("ir_squad_dev",),
        measures=("ndcg@10",),
    ),
    Measurement(
        name="Cranfield",
        command=("retrieval",),
        files=("ir_cranfield",),
        measures=("ndcg@10",),
    ),
    Measurement(
        name="Medline",
        command=("retrieval",),
        files=("ir_medline",),
        measures=("ndcg@10",),
    ),
)
SENSES = (
    Measurement(
        name="WiC dev",
        command=("senses", "pairs"),
        files=(REST, "wic/dev.parquet"),
        measures=("accuracy",),
        options=("--full",),
        # Wang et al. 2019 (SuperGLUE), table 3: BERT-large, on its test set; Liu et al. 2021
        published="BERT-large 69.6 (test), MirrorWiC 71.9",
    ),
    Measurement(
        name="CoarseWSD-20, ten words",
        command=("senses", "centroid"),
        files=(f"{COARSE}/train.parquet", f"{COARSE}/test/*.parquet"),
        measures=("accuracy", "macro_f1"),
        options=("--full", "--whiten"),
        # Loureiro et al. 2021, table 5: nearest neighbours, all twenty words
        published="BERT-base 94.0 91.0, BERT-large 95.8 93.2",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A training, and what it is measured by.

    Args:
        name: what `--only` and the table call it.
        task: of `embedder finetune`.
        train: files to train on.
        dev: file that picks the checkpoint; None for a tenth of `train`.
        options: of the command.
        rows: rows to train on; all when None.
        pairs: pairs of uses, of which a tenth of the words are left for thresholds; `train` itself
            if that is what is trained on.
        has_blend: whether the model half way to the bundled one is measured, too.
        measured: before and after.
    """

    name: str
    task: str
    train: str
    dev: str | None = None
    options: tuple[str, ...] = ()
    rows: int | None = None
    pairs: str | None = None
    has_blend: bool = False
    measured: tuple[Measurement, ...]


BENCHMARKS = (
    Benchmark(
        name="similarity",
        task="similarity",
        train="stsb/train.parquet",
        dev="stsb/dev.parquet",
        measured=(STSB,),
    ),
    Benchmark(
        name="retrieval",
        task="retrieval",
        train="squad_v1/train.parquet",
        rows=12_000,
        has_blend=True,
        measured=SEARCHES,
    ),
    Benchmark(
        name="senses",
        task="senses",
        train="wic/train.parquet",
        pairs="wic/train.parquet",
        measured=SENSES,
    ),
    Benchmark(
        name="senses of uses",
        task="senses",
        train=f"{COARSE}/train.parquet",
        pairs="wic/train.parquet",
        options=("--window", "64", "--epochs", "1"),
        measured=SENSES,
    ),
    Benchmark(
        name="senses-unsupervised",
        task="senses-unsupervised",
        train="wikipedia_en_2015/wiki-00.parquet",
        pairs="wic/train.parquet",
        options=("--limit", "400", "--window", "32", "--learning-rate", "5e-5"),
        measured=SENSES,
    ),
)


def main() -> None:
    """Measure and print."""
    options = _options()
    room = Path(tempfile.mkdtemp(prefix="encoders-"))
    rows = []
    try:
        for benchmark in BENCHMARKS:
            if not options.only or benchmark.name in options.only:
                rows += _rows(benchmark, room / benchmark.name.replace(" ", "-"), options)
    finally:
        shutil.rmtree(room)
    print_table(HEAD, rows)
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Options after -- go to embedder finetune."
    )
    parser.add_argument("data", type=Path, help="folder of the labelled data")
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--only", nargs="*", choices=names, help="leave out the others")
    parser.add_argument("--rows", type=int, help="train on so many rows at most, drawn by chance")
    return parse_options(parser, "training")


def _rows(benchmark: Benchmark, room: Path, options: argparse.Namespace) -> list[list[str]]:
    """Lines of the table; what fails is said in one."""
    room.mkdir()
    try:
        if benchmark.pairs:
            pairs = options.data / benchmark.pairs
            command = child(__file__, "split", pairs, room / "words.parquet", room / REST)
            measure(command, environment())
        before = [_measure(m, options.data, room, None) for m in benchmark.measured]
        trained = _train(benchmark, room, options)
        after = [_measure(m, options.data, room, room / "model") for m in benchmark.measured]
        found = [(benchmark.name, trained, after)]
        if benchmark.has_blend:
            made = room / "blended"
            measure(tool("blend", "default", room / "model", "--out", made, "-q"), environment())
            after = [_measure(m, options.data, room, made) for m in benchmark.measured]
            found.append((benchmark.name, "the same, half way to the bundled model", after))
    except ChildFailedError as error:
        return [[benchmark.name, "", "", str(error), "", "", ""]]
    return [
        [name, how, m.name, ", ".join(m.measures), old, new, m.published]
        for name, how, after in found
        for m, old, new in zip(benchmark.measured, before, after, strict=True)
    ]


def _train(benchmark: Benchmark, room: Path, options: argparse.Namespace) -> str:
    """Train; what it was trained on and what that took."""
    train = options.data / benchmark.train
    if benchmark.train == benchmark.pairs:
        train = room / "words.parquet"
    most = min((n for n in (benchmark.rows, options.rows) if n is not None), default=None)
    if most is not None:
        drawn = room / "train.parquet"
        measure(child(__file__, "draw", train, most, drawn), environment())
        train = drawn
    dev = ["--eval", options.data / benchmark.dev] if benchmark.dev else []
    command = tool("finetune", benchmark.task, train, *dev, "--out", room / "model")
    asked = (*benchmark.options, *options.training, "--format", "json", "-q")
    found = measure((*command, *asked), environment()).json()
    record = found["record"]
    return (
        f"{record['n_examples'] or '':,} examples, {record['n_steps']:,} steps, "
        f"{found['seconds']:,.0f} s, {record['peak_memory'] / 2**20:,.0f} MiB"
    )


def _measure(measurement: Measurement, data: Path, room: Path, model: Path | None) -> str:
    """The measures of a model, in percent."""
    files: list[Path] = []
    for name in measurement.files:
        place = room if name == REST else data
        files += sorted(place.glob(name)) if "*" in name else [place / name]
    model_option: list[str | Path] = ["--model", model] if model else []
    found = evaluate(*measurement.command, *files, *measurement.options, *model_option)
    print(measurement.name, found if len(str(found)) < 500 else "", file=sys.stderr, flush=True)
    return ", ".join(f"{100 * find_measure(found, name):.2f}" for name in measurement.measures)


def split(path: str, train: str, rest: str) -> None:
    """Write the rows of nine tenths of the words to one file, and of the others to another."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    words = np.array(table["word"].to_pylist())
    different = np.unique(words)
    chosen = np.random.default_rng(SEED).permutation(different)[: len(different) // 10]
    is_rest = np.isin(words, chosen)
    pq.write_table(table.filter(pa.array(~is_rest)), train)
    pq.write_table(table.filter(pa.array(is_rest)), rest)


if __name__ == "__main__" and not run_child({"draw": draw, "split": split}):
    main()
