"""What a command costs from a cold process: start, imports, loading, answering, ending."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from harness import (
    SAMPLE,
    Measured,
    alternate,
    environment,
    measure,
    peak,
    print_machine,
    print_table,
    spread,
    tool,
)

FLOOR = "python -c pass"


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="embedder-bench-") as folder:
        if options.index:
            index, env = options.index, environment()
        else:
            index = f"{folder}/sample.index"
            env = environment(EMBEDDER_CACHE=f"{folder}/cache")
            measure(tool("index", SAMPLE, "--out", index, "--limit", str(options.rows)), env)
        commands = {
            FLOOR: [sys.executable, "-c", "pass"],
            "embedder --help": tool("--help"),
            "embedder info": tool("info", "--index", index),
            'embedder search "bank" -k 10': tool("search", "bank", "-k", "10", "--index", index),
        }
        for command in commands.values():
            measure(command, env)  # reads files into memory, makes what is cached
        results, failed = alternate(
            {name: lambda c=command: measure(c, env) for name, command in commands.items()},
            options.rounds,
        )
        assert not failed, failed
    _report(results, str(Path(index).name))
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", help="an index  [default: one made of the sample corpus]")
    parser.add_argument("--rows", type=int, default=5000, help="rows of the sample corpus")
    parser.add_argument("--rounds", type=int, default=11)
    return parser.parse_args()


def _report(results: dict[str, list[Measured]], index: str) -> None:
    table = [
        [name, spread([run.seconds * 1000 for run in runs], ",.0f"), peak(runs)]
        for name, runs in results.items()
    ]
    print_table(["command", "milliseconds", "peak MiB"], table)
    n_rounds = len(results[FLOOR])
    print(f"\nIndex: {index}. Medians of {n_rounds} fresh processes each, ranges in brackets.")


if __name__ == "__main__":
    main()
