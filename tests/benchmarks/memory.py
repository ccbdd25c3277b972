"""Whether memory stays bounded as the corpus grows: peak of `embedder index` by number of rows.

The model is tiny, so that what is measured is reading, cutting, writing and what is remembered of
each text, and not the network.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from harness import (
    ROOT,
    Measured,
    child,
    environment,
    measure,
    parse_options,
    print_machine,
    print_table,
    run_child,
    tool,
)

GROUP_ROWS = 10_000
WORDS = (
    *("bank", "river", "green", "interest", "rates", "crane"),
    *("steel", "beam", "over", "energy", "rising", "lifted"),
)
N_RANDOM_WORDS = 6
SEED = 1729


def main() -> None:
    """Measure and print."""
    options = _options()
    table = []
    with tempfile.TemporaryDirectory(prefix="embedder-bench-") as name:
        folder = Path(name)
        env = environment(EMBEDDER_CACHE=folder / "cache")
        measure(child(__file__, "model", folder / "model"), env)
        _index(folder, 100, GROUP_ROWS, env, options.index)  # the export happens here
        for one_group in (False, True):
            before = 0.0
            for n_rows in options.rows:
                print(f"{n_rows:,} rows", file=sys.stderr, flush=True)
                size = n_rows if one_group else options.group_rows
                run = _index(folder, n_rows, size, env, options.index)
                ratio = f"{run.peak_bytes / before:.2f}" if before else ""
                before = float(run.peak_bytes)
                table.append(
                    [
                        "one" if one_group else f"of {size:,} rows",
                        f"{n_rows:,}",
                        f"{run.seconds:,.1f}",
                        f"{n_rows / run.seconds:,.0f}",
                        f"{run.peak_bytes / 2**20:,.0f}",
                        ratio,
                        ", ".join(run.json()["structures"]),
                    ]
                )
    head = ["row groups", "rows", "seconds", "documents/s", "peak MiB", "to the row above", "FAISS"]
    print_table(head, table)
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Options after -- go to embedder index."
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 50_000, 500_000])
    parser.add_argument("--group-rows", type=int, default=GROUP_ROWS)
    return parse_options(parser, "index")


def _index(
    folder: Path, n_rows: int, group_rows: int, env: dict[str, str], asked: list[str]
) -> Measured:
    corpus, out = folder / "corpus.parquet", folder / f"{n_rows}-{group_rows}.index"
    measure(child(__file__, "corpus", n_rows, group_rows, corpus), env)
    how = ["--precision", "fp32", "--engine", "openvino", "--format", "json", *asked]
    return measure(
        tool("index", corpus, "--out", out, "--model", folder / "model", *how, *asked), env
    )


def write_corpus(n_rows: str, group_rows: str, out: str) -> None:
    """Write distinct short texts: the row's number in words, then random words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = random.Random(SEED)
    texts = [
        " ".join([*_number_words(number), *chance.choices(WORDS, k=N_RANDOM_WORDS)])
        for number in range(int(n_rows))
    ]
    table = pa.table({"id": [str(number) for number in range(len(texts))], "text": texts})
    pq.write_table(table, out, row_group_size=int(group_rows))


def _number_words(number: int) -> list[str]:
    """Six words that no other number below 12^6 has."""
    digits = (number // len(WORDS) ** place % len(WORDS) for place in range(6))
    return [WORDS[digit] for digit in digits]


def write_model(folder: str) -> None:
    """Make the tiny model of the tests."""
    sys.path.insert(0, str(ROOT / "tests"))
    from models import make_model

    make_model(Path(folder))


CHILDREN = {"corpus": write_corpus, "model": write_model}

if __name__ == "__main__" and not run_child(CHILDREN):
    main()
