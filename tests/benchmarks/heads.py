"""Heads: how well they answer, how long their training takes, and how fast they predict.

Takes the folder of labelled data, which is not part of the project: the layout is that of
`BENCHMARKS`. Each is trained with the public commands, with a part of its training data or its
own development data to pick the checkpoint by, and measured on data that picked nothing. What
follows `--` goes to every `embedder finetune`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import (
    ChildFailedError,
    child,
    draw,
    environment,
    measure,
    parse_options,
    print_machine,
    print_table,
    run_child,
    tool,
)

SQUAD_ROWS = (1_000, 4_000, 16_000)
HEAD = ["", "rows", "steps", "measure", "", "published", "training", "peak MiB", "predict rows/s"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One data set, and what is known of it.

    Args:
        name: what the command line and the table call it.
        task: of `embedder finetune`.
        train: file to train on.
        test: file to measure on.
        dev: file that picks the checkpoint; None for a tenth of `train`.
        columns: options that name columns.
        measures: which of those that `embedder evaluate` prints are shown, in percent.
        published: what others report, and where.
        rows: rows to train on; all when None.
        options: of `embedder finetune`.
    """

    name: str
    task: str
    train: str
    test: str
    measures: tuple[str, ...]
    published: str
    dev: str | None = None
    columns: tuple[str, ...] = ()
    rows: int | None = None
    options: tuple[str, ...] = ()


SQUAD = Benchmark(
    name="squad",
    task="answer",
    train="squad_v1/train.parquet",
    test="squad_v1/dev.parquet",
    measures=("f1", "exact_match"),
    # Devlin et al. 2019, table 2, on all 87,599 questions
    published="BERT-base 88.5, 80.8",
)

SST2 = Benchmark(
    name="sst2",
    task="classify",
    train="sst2/train.parquet",
    test="sst2/dev.parquet",
    measures=("accuracy",),
    # Devlin et al. 2019, table 1: on GLUE's test set
    published="BERT-base 93.5 (test)",
    options=("--epochs", "3", "--batch", "64"),  # many short phrases of the same sentences
)

BENCHMARKS = (
    SST2,
    replace(SST2, name="sst2-sentences", train="sst2/train_sentences.parquet", options=()),
    Benchmark(
        name="banking77",
        task="classify",
        train="banking77/train.parquet",
        test="banking77/test.parquet",
        measures=("accuracy",),
        # Casanueva et al. 2020, table 3, full data
        published="BERT-large 93.66, USE+ConveRT 93.36",
    ),
    Benchmark(
        name="trec",
        task="classify",
        train="trec/train.parquet",
        test="trec/test.parquet",
        measures=("accuracy",),
        # Howard and Ruder 2018, table 2, six labels: an error of 3.6
        published="ULMFiT 96.4",
    ),
    Benchmark(
        name="conll2003",
        task="tag",
        train="conll2003/train.parquet",
        dev="conll2003/valid.parquet",
        test="conll2003/test.parquet",
        columns=("--tags", "ner_tags"),
        measures=("f1",),
        # Devlin et al. 2019, table 7: cased, with the document around each sentence
        published="BERT-base 92.4",
    ),
    Benchmark(
        name="ewt",
        task="tag",
        train="ud_english_ewt/train.parquet",
        dev="ud_english_ewt/dev.parquet",
        test="ud_english_ewt/test.parquet",
        columns=("--tags", "upos"),
        measures=("accuracy",),
        # Kondratyuk and Straka 2019, table 2, an older release of the treebank
        published="UDify 96.21",
    ),
    *(replace(SQUAD, name=f"squad-{rows}", rows=rows) for rows in SQUAD_ROWS),
    Benchmark(
        name="scitldr",
        task="generate",
        train="scitldr_a/train.parquet",
        dev="scitldr_a/dev.parquet",
        test="scitldr_a/test.parquet",
        measures=("rouge1", "rouge2", "rougeL"),
        # Cachola et al. 2020, abstracts only: the best of several references counts
        published="CATTS (BART-large) 43.8",
    ),
    Benchmark(
        name="aeslc",
        task="generate",
        train="aeslc/train.parquet",
        dev="aeslc/dev.parquet",
        test="aeslc/test.parquet",
        measures=("rouge1", "rouge2", "rougeL"),
        # Zhang et al. 2020, PEGASUS-large pre-trained on C4, against the sender's subject alone;
        # here the nearest of four counts
        published="PEGASUS-large 37.69, 21.85, 36.84 (one subject)",
    ),
)


def main() -> None:
    """Measure and print."""
    options = _options()
    room = Path(tempfile.mkdtemp(prefix="heads-"))
    rows = []
    try:
        for benchmark in BENCHMARKS:
            if not options.only or benchmark.name in options.only:
                rows.append(_row(benchmark, room / benchmark.name, options))
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
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
    parser.add_argument("--test-rows", type=int, help="measure on so many at most")
    parser.add_argument("--max-steps", type=int, help="of each training")
    parser.add_argument("--device", help="as embedder finetune takes it")
    return parse_options(parser, "training")


def _row(benchmark: Benchmark, room: Path, options: argparse.Namespace) -> list[str]:
    """One line of the table; what fails is said in it."""
    try:
        return [benchmark.name, *_cells(benchmark, room, options)]
    except ChildFailedError as error:
        return [benchmark.name, "", "", str(error), "", benchmark.published, "", "", ""]


def _cells(benchmark: Benchmark, room: Path, options: argparse.Namespace) -> list[str]:
    room.mkdir()
    most = min((n for n in (benchmark.rows, options.rows) if n is not None), default=None)
    train = _drawn(options.data / benchmark.train, most, room / "train.parquet")
    test = _drawn(options.data / benchmark.test, options.test_rows, room / "test.parquet")
    dev: list[str | Path] = []
    if benchmark.dev is not None:
        drawn = _drawn(options.data / benchmark.dev, options.test_rows, room / "dev.parquet")
        dev = ["--eval", drawn]
    device = ["--device", options.device] if options.device else []
    steps = ["--max-steps", str(options.max_steps)] if options.max_steps else []
    command = tool("finetune", benchmark.task, train, *dev, "--out", room / "head")
    own = (*benchmark.columns, *benchmark.options, *steps, *device, *options.training)
    trained = measure((*command, *own, "--format", "json", "-q"), environment()).json()
    record = trained["record"]
    evaluated = tool("evaluate", benchmark.task, room / "head", test, *device)
    found = _measures(measure((*evaluated, "--format", "json"), environment()).output)
    return [
        _plain(record["n_examples"]),
        _plain(record["n_steps"]),
        ", ".join(benchmark.measures),
        "; ".join(f"{name} {_percent(x, benchmark.measures)}".strip() for name, x in found),
        benchmark.published,
        f"{trained['seconds']:,.0f} s",
        f"{record['peak_memory'] / 2**20:,.0f}",
        _predict(room / "head", test, device),
    ]


def _measures(output: str) -> list[tuple[str, dict[str, float]]]:
    """What `embedder evaluate` measured: of the head, and of what it is set beside, by name."""
    found = json.loads(output)
    if isinstance(found, dict):
        return [("", found["summary"])]
    first, *others = found
    return [("", first), *((row["texts"], row) for row in others if "texts" in row)]


def _percent(found: dict[str, float], names: Sequence[str]) -> str:
    return ", ".join(f"{100 * found[name]:.2f}" for name in names)


def _plain(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _drawn(path: Path, n_rows: int | None, out: Path) -> Path:
    """A file of so many rows of another, drawn by chance; the other itself where it is shorter."""
    if n_rows is None:
        return path
    measure(child(__file__, "draw", path, n_rows, out), environment())
    return out


def _predict(head: Path, test: Path, device: Sequence[str]) -> str:
    """Rows a second, once the head is open."""
    out = head.with_name("predictions.parquet")
    done = measure(tool("predict", head, test, *device, "--out", out), environment())
    rate = re.search(r"\(([\d,]+) rows/s\)", done.output)
    return rate[1] if rate else ""


if __name__ == "__main__" and not run_child({"draw": draw}):
    main()
