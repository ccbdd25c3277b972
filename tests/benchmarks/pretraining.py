"""Pre-training: what a small BERT learns from little text, read both ways and one way.

Trains networks of one size on the same text, for as many steps: with masks, as BERT, and one-sided,
as GPT. Each is fine-tuned to tell good reviews from bad ones, beside a network with the same
vocabulary that has learnt nothing, and its vectors of words are measured as they are. Takes the
folder of labelled data, which is not part of the project. What follows `--` goes to every
`embedder pretrain`:

    python tests/benchmarks/pretraining.py DATA -- --max-steps 4000 --batch 64
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from harness import (
    environment,
    evaluate,
    find_measure,
    measure,
    parse_options,
    print_machine,
    print_table,
    tool,
)

TEXT = "wikipedia_en_2015/wiki-*.parquet"
MASKED, ONE_SIDED, RANDOM = "masked", "one-sided", "random start"
OBJECTIVES = {MASKED: "mlm", ONE_SIDED: "causal"}
HEAD = [
    "",
    "perplexity by step",
    "training",
    "peak MiB",
    "SST-2 dev, accuracy",
    "WiC dev, accuracy",
    "CoarseWSD-20, accuracy, macro F1",
]


def main() -> None:
    """Measure and print."""
    options = _options()
    room = options.models or Path(tempfile.mkdtemp(prefix="pretraining-"))
    room.mkdir(parents=True, exist_ok=True)
    rows = []
    try:
        for name, objective in OBJECTIVES.items():
            _pretrain(options, room / name, "--objective", objective, *options.training)
        # The same vocabulary, and one step that is next to nothing.
        asked = ("--tokenizer", room / MASKED, "--max-steps", "1", "--learning-rate", "1e-9")
        _pretrain(options, room / RANDOM, *asked, "--limit", "20")
        for name in (*OBJECTIVES, RANDOM):
            rows.append([name, *_learnt(room / name), *_measures(options.data, room, name)])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    finally:
        if options.models is None:
            shutil.rmtree(room)
    print_table(HEAD, rows)
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Options after -- go to embedder pretrain."
    )
    parser.add_argument("data", type=Path, help="folder of the labelled data")
    parser.add_argument("--size", default="mini", help="of the networks")
    parser.add_argument("--models", type=Path, help="where they are, or are to be kept")
    return parse_options(parser, "training")


def _pretrain(options: argparse.Namespace, out: Path, *asked: str | Path) -> None:
    if not out.is_dir():
        print(f"pre-training: {out.name}", file=sys.stderr, flush=True)
        texts = sorted(options.data.glob(TEXT))
        command = tool("pretrain", *texts, "--size", options.size, "--out", out, "-q")
        measure((*command, "--no-next-sentence", *asked), environment())


def _learnt(model: Path) -> tuple[str, str, str]:
    """How perplexity fell, how long that took, and the memory."""
    found = json.loads((model / "metrics.json").read_text("utf-8"))
    curve = [(p["step"], p["measures"]) for p in found["curve"] if p["measures"]]
    falls = [f"{step:,}: {measures['perplexity']:,.1f}" for step, measures in curve]
    return ", ".join(falls), f"{found['seconds']:,.0f} s", f"{found['peak_memory'] / 2**20:,.0f}"


def _measures(data: Path, room: Path, name: str) -> tuple[str, str, str]:
    """Of SST-2 with a head, of WiC and of CoarseWSD-20 without."""
    model, head = room / name, room / f"{name} head"
    if not head.is_dir():
        train = data / "sst2" / "train_sentences.parquet"
        measure(
            tool("finetune", "classify", train, "--model", model, "--out", head, "-q"),
            environment(),
        )
    reviews = evaluate("classify", head, data / "sst2" / "dev.parquet")
    wic = [data / "wic" / name for name in ("train.parquet", "dev.parquet")]
    coarse = data / "coarsewsd20"
    uses = [coarse / "train.parquet", *sorted((coarse / "test").glob("*.parquet"))]
    pairs = evaluate("senses", "pairs", *wic, "--full", "--model", model)
    senses = evaluate("senses", "centroid", *uses, "--full", "--model", model)
    accuracy, macro_f1 = (100 * find_measure(senses, name) for name in ("accuracy", "macro_f1"))
    return (
        f"{100 * find_measure(reviews, 'accuracy'):.1f}",
        f"{100 * find_measure(pairs, 'accuracy'):.1f}",
        f"{accuracy:.1f}, {macro_f1:.1f}",
    )


if __name__ == "__main__":
    main()
