"""Students against their teacher: how well they do, and how fast they are.

Makes a student with half of the layers and a static one on a corpus, unless --students names a
folder that has them, as `half` and `static`. Each is then timed in a fresh process, in turn, round
after round: with texts in, tokenising included, and with pieces in. Quality is the Spearman
correlation of cosines with people's scores of pairs of texts, which are no part of the project.
What stands after `--` goes to the training of the student with layers:

    python tests/benchmarks/distil.py corpus.parquet --pairs stsb.parquet -- --epochs 1
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness import (
    SAMPLE,
    Measured,
    alternate,
    child,
    environment,
    measure,
    parse_options,
    print_machine,
    print_table,
    ratio_of_pairs,
    run_child,
    spread,
    tool,
)

TEACHER, HALF, STATIC = "teacher", "half", "static"
LEAST_SECONDS = 2.0
"""Texts are encoded again until this has passed: a static model is through with them at once."""

N_WARM = 64


def main() -> None:
    """Measure and print."""
    options = _options()
    room = Path(tempfile.mkdtemp(prefix="distil-"))
    try:
        models = _models(options, room)
        _print(models, options)
    finally:
        shutil.rmtree(room)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", nargs="?", default=str(SAMPLE), help="Parquet to distil on")
    parser.add_argument("--model", default="default", help="the teacher")
    parser.add_argument("--layers", type=int, default=3, help="of the student that has some")
    parser.add_argument("--pairs", nargs="*", default=[], help="Parquet of text1, text2, score")
    parser.add_argument("--students", type=Path, help="where students are, or are to be kept")
    parser.add_argument("--texts", type=int, default=500, help="paragraphs that are timed")
    parser.add_argument("--rounds", type=int, default=3)
    return parse_options(parser, "training")


def _models(options: argparse.Namespace, room: Path) -> dict[str, str]:
    """The folder or name of each model; students that are not there are made."""
    folder = (options.students or room).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {
        HALF: ["--layers", str(options.layers), *options.training],
        STATIC: ["--static"],
    }
    for name, asked in kinds.items():
        if not (folder / name).is_dir():
            print(f"distilling: {name}", file=sys.stderr, flush=True)
            made = (
                "distil",
                options.corpus,
                "--model",
                options.model,
                "--out",
                folder / name,
                "-q",
            )
            done = measure(tool(*made, *asked), environment())
            print(f"  {done.seconds:.0f} s", file=sys.stderr, flush=True)
    return {TEACHER: options.model, **{name: str(folder / name) for name in kinds}}


def _print(models: dict[str, str], options: argparse.Namespace) -> None:
    runs: dict[str, Callable[[], Measured]] = {
        name: partial(measure, child(__file__, "encode", model, options.texts), environment())
        for name, model in models.items()
    }
    found, failed = alternate(runs, options.rounds)
    scores = {
        name: [_spearman(model, path) for path in options.pairs] for name, model in models.items()
    }
    rates = {
        name: {kind: [run.json()[kind] for run in measured] for kind in ("texts", "pieces")}
        for name, measured in found.items()
    }
    rows = []
    for name in models:
        if name in failed:
            rows.append([name, failed[name], *[""] * (len(options.pairs) + 5)])
            continue
        about = found[name][0].json()
        rows.append(
            [
                name,
                about["engine"],
                f"{about['bytes'] / 1e6:,.0f}",
                *scores[name],
                *(
                    text
                    for kind in ("texts", "pieces")
                    for text in (
                        spread(rates[name][kind], ",.0f"),
                        ratio_of_pairs(rates[name][kind], rates[TEACHER][kind]),
                    )
                ),
            ]
        )
    names = [f"Spearman, {Path(path).parent.name}/{Path(path).stem}" for path in options.pairs]
    speeds = ["tokens/s, texts in", "times as fast", "tokens/s, pieces in", "times as fast"]
    print_table(["", "engine", "MB", *names, *speeds], rows)
    print_machine()


def _spearman(model: str, path: str) -> str:
    asked = ("evaluate", "similarity", path, "--model", model, "--format", "json")
    [score] = json.loads(measure(tool(*asked), environment()).output)
    return f"{score['spearman']:.4f}"


def encode(model: str, n_texts: str) -> None:
    """Time one model; writes what it took as JSON."""
    import pyarrow.parquet as pq

    from embedder.checkpoint import open_checkpoint
    from embedder.encoders import EncoderOptions, open_encoder

    texts = pq.read_table(SAMPLE, columns=["text"])["text"].to_pylist()[: int(n_texts)]
    encoder = open_encoder(EncoderOptions(model=model))
    encoder.encode(texts[:N_WARM])
    pieces = [encoder.cut(ids) for ids in encoder.tokenizer.encode(texts)]
    n_tokens = sum(map(len, pieces))
    result: dict[str, Any] = {
        "texts": _rate(n_tokens, lambda: encoder.encode(texts)),
        "pieces": _rate(n_tokens, lambda: encoder.encode_pieces(pieces)),
        "engine": encoder.encoder.description,
        "bytes": sum(path.stat().st_size for path in open_checkpoint(model).weight_files),
    }
    print(json.dumps(result))


def _rate(n_tokens: int, run: Callable[[], Any]) -> float:
    """Tokens a second."""
    started, n_runs = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < LEAST_SECONDS:
        run()
        n_runs += 1
    return n_tokens * n_runs / seconds


if __name__ == "__main__" and not run_child({"encode": encode}):
    main()
