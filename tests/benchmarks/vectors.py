"""Vectors alone: building and searching a structure against hand-written FAISS and usearch.

Clustered synthetic vectors go through the real writer. The structure is built in a fresh process;
then one process opens it beside the others, sets each to the least effort that reaches the same
recall, and lets them answer the same queries in alternating rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import ROOT, child, environment, measure, print_machine, print_table, run_child

WIDTH = 384
N_QUERIES = 1000
N_SINGLE = 500
SEGMENT_ROWS = 200_000
TRAINING_ROWS = 200_000
BATCH_ROWS = 65_536
SHARES = (0.5, 0.1, 0.01, 0.001)
SETTINGS = (*range(1, 40), *range(40, 80, 4), *(round(80 * 1.2**i) for i in range(22)))


def main() -> None:
    """Write, build, race and print."""
    options = _options()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="embedder-bench-"))
    env = environment()
    root = folder / f"{options.vectors}.index"
    if not (root / "manifest.json").exists():
        _run("corpus", root, options.vectors, env=env)
    built = _run("build", root, options.recall, options.memory * 10**6, env=env)
    print(f"\n{options.vectors:,} vectors of {WIDTH} components, recall@10 >= {options.recall}\n")
    _print_build(built, options.vectors)
    others = ["ivf"] if options.without_graphs else ["ivf", "hnsw", "usearch"]
    race = _run("race", root, options.recall, options.rounds, ",".join(others), env=env)
    print_table(
        ["", "setting", "recall@10", "one query, ms", "in a batch, ms", "build s", "build MB"],
        [[str(cell) for cell in row] for row in race["rows"]],
    )
    if options.filters:
        print()
        found = _run("filters", root, env=env)
        print_table(["filter leaves", "recall@10", "ms", "plan"], found["rows"])
    if options.update:
        print()
        print_table(["change", "seconds", "one query, ms"], _run("update", root, env=env)["rows"])
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--memory", type=int, default=4000, help="megabytes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", help="keep the corpus here, and use what is there")
    parser.add_argument("--without-graphs", action="store_true")
    parser.add_argument("--filters", action="store_true")
    parser.add_argument("--update", action="store_true")
    return parser.parse_args()


def _run(name: str, *arguments: object, env: dict[str, str]) -> Any:
    print(name, file=sys.stderr, flush=True)
    return measure(child(__file__, name, *arguments), env).json()


def _print_build(built: dict[str, Any], n: int) -> None:
    row = [
        built["structure"],
        f"{built['seconds']:.1f}",
        f"{built['anonymous'] / 1e6:.0f}",
        f"{built['resident'] / 1e6:.0f}",
        f"{built['disk'] / n:.0f}",
        f"{built['recall']:.4f}",
    ]
    head = ["structure", "build s", "peak RssAnon MB", "peak RSS MB", "bytes a vector", "recall"]
    print_table(head, [row])
    print()


def _paths() -> None:
    for path in (ROOT, ROOT / "tests" / "indexes"):
        sys.path.insert(0, str(path))


def write_corpus(root: str, n_vectors: str) -> None:
    """Clusters of power-law sizes around centres that are themselves clustered; and queries."""
    _paths()
    import numpy as np
    from synthetic import commit, write_segment

    from embedder.vectors import normalise
    from indexes.layout import Layout

    n, random = int(n_vectors), np.random.default_rng(1)
    n_centres = max(1000, n // 500)
    outer = random.normal(size=(max(10, n_centres // 50), WIDTH)).astype(np.float32)
    centres = random.normal(size=(n_centres, WIDTH)).astype(np.float32) * 0.7
    centres += outer[random.integers(0, len(outer), n_centres)]
    weights = random.pareto(1.5, n_centres) + 0.2
    weights /= weights.sum()

    def draw(n_rows: int) -> Any:
        rows = centres[random.choice(n_centres, n_rows, p=weights)]
        noise = random.normal(size=(n_rows, WIDTH)).astype(np.float32) * 0.9
        return normalise(rows + noise)

    layout, segments = Layout(Path(root)), []
    for number, start in enumerate(range(0, n, SEGMENT_ROWS)):
        rows = draw(min(SEGMENT_ROWS, n - start))
        segments.append(write_segment(layout, f"s{number}", rows, texts=["text"] * len(rows)))
    manifest = commit(layout, segments)
    _commit(layout, manifest)
    np.save(Path(root) / "queries.npy", draw(N_QUERIES))
    np.save(Path(root) / "more.npy", draw(n // 100))
    print(json.dumps({}))


def _commit(layout: Any, manifest: Any, **changes: Any) -> Any:
    from dataclasses import replace

    from indexes.manifest_file import write_manifest

    changed = replace(manifest, encoder=replace(manifest.encoder, width=WIDTH), **changes)
    write_manifest(layout, changed)
    return changed


class _Memory:
    """Peak memory of this process from now on, above what it has now, in bytes."""

    def __init__(self) -> None:
        import threading

        self._before = self._now()
        self._peak = dict(self._before)
        self._is_over = False
        threading.Thread(target=self._watch, daemon=True).start()

    def _now(self) -> dict[str, int]:
        lines = Path("/proc/self/status").read_text().splitlines()
        values = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
        return {name: int(values[name]) * 1024 for name in ("RssAnon", "VmRSS")}

    def _watch(self) -> None:
        import time

        while not self._is_over:
            now = self._now()
            self._peak = {name: max(value, now[name]) for name, value in self._peak.items()}
            time.sleep(0.005)

    def stop(self) -> dict[str, int]:
        """The peaks: anonymous memory, and with mapped files."""
        self._is_over = True
        grown = {name: value - self._before[name] for name, value in self._peak.items()}
        return {"anonymous": grown["RssAnon"], "resident": grown["VmRSS"]}


def build(root: str, recall: str, memory: str) -> None:
    """Build the structure as a contract asks, and commit it."""
    _paths()
    import time

    from indexes.generation_builder import build_generation
    from indexes.layout import Layout
    from indexes.manifest import Contract
    from indexes.manifest_file import read_manifest

    layout = Layout(Path(root))
    manifest = read_manifest(layout)
    contract = Contract(recall=float(recall), memory=int(memory))
    watch, started = _Memory(), time.perf_counter()
    record = build_generation(layout, manifest.segments, WIDTH, contract)
    seconds = time.perf_counter() - started
    found = {"seconds": seconds, "structure": record.structure, "recall": record.recall}
    found |= {**watch.stop(), "disk": sum(file.size for file in record.files.values())}
    _commit(layout, manifest, generations=(record,), contract=contract)
    print(json.dumps(found))


class _Ours:
    """PassageSearch with another number of cells than the recorded one."""

    name = "ours"

    def __init__(self, layout: Any, manifest: Any) -> None:
        self._layout, self._manifest = layout, manifest
        self.setting = manifest.generations[0].efforts[0].n_probe
        self.seconds = self.megabytes = ""
        self.set(self.setting)

    def set(self, n_probe: int) -> None:
        from dataclasses import replace

        from indexes.passage_search import PassageSearch

        [record] = self._manifest.generations
        effort = replace(record.efforts[0], n_probe=n_probe)
        record = replace(record, efforts=(effort, *record.efforts[1:]))
        self._search = PassageSearch(self._layout, replace(self._manifest, generations=(record,)))
        self._search.warm_up()
        self.setting = n_probe

    def find(self, queries: Any) -> Any:
        return self._search.nearest(queries, 10)[0]


class _Recorded(_Ours):
    """PassageSearch as it was tuned."""

    name = "ours, as recorded"


class _Faiss:
    """What one writes by hand with FAISS's factory."""

    def __init__(self, name: str, blocks: Any, sample: Any) -> None:
        import faiss

        self.name = name
        self._index = faiss.index_factory(WIDTH, name, faiss.METRIC_INNER_PRODUCT)
        self._index.train(sample)
        for block in blocks:
            self._index.add(block)
        self._parameters: Any = None

    def set(self, setting: int) -> None:
        import faiss

        self.setting = setting
        if self.name.startswith("IVF"):
            self._parameters = faiss.SearchParametersIVF(nprobe=setting)
        else:
            self._parameters = faiss.SearchParametersHNSW(efSearch=setting)

    def find(self, queries: Any) -> Any:
        return self._index.search(queries, 10, params=self._parameters)[1]


class _Usearch:
    """What one writes by hand with usearch."""

    name = "usearch f16"

    def __init__(self, blocks: Any) -> None:
        import numpy as np
        from usearch.index import Index

        self._index: Any = Index(ndim=WIDTH, metric="ip", dtype="f16")
        first = 0
        for block in blocks:
            keys = np.arange(first, first + len(block))
            self._index.add(keys, block.astype(np.float16))
            first += len(block)

    def set(self, setting: int) -> None:
        self.setting = setting
        self._index.expansion_search = setting

    def find(self, queries: Any) -> Any:
        import numpy as np

        found = self._index.search(queries.astype(np.float16), 10)
        return np.asarray(found.keys).astype(np.int64).reshape(len(queries), -1)


def race(root: str, recall: str, n_rounds: str, others: str) -> None:
    """Set each to the recall, then time all in alternating rounds; medians."""
    _paths()
    import statistics
    import time

    import numpy as np

    from indexes.layout import Layout
    from indexes.manifest_file import read_manifest
    from indexes.passage_search import PassageSearch
    from indexes.segments import iterate_vectors

    layout = Layout(Path(root))
    manifest = read_manifest(layout)
    queries = np.load(Path(root) / "queries.npy")
    truth = PassageSearch(layout, manifest).nearest(queries, 10, exact=True)[0]

    def blocks() -> Any:
        for segment in manifest.segments:
            for half in iterate_vectors(layout, segment, WIDTH, BATCH_ROWS):
                yield half.astype(np.float32)

    def sample() -> Any:
        every = max(1, manifest.n_passages // TRAINING_ROWS)
        return np.concatenate([block[::every] for block in blocks()])

    makers = {
        "ivf": lambda: _Faiss("IVF4096,SQ8", blocks(), sample()),
        "hnsw": lambda: _Faiss("HNSW32", blocks(), sample()[:1000]),
        "usearch": lambda: _Usearch(blocks()),
    }
    made: list[Any] = [_Recorded(layout, manifest), _Ours(layout, manifest)]
    for name in others.split(","):
        print(name, file=sys.stderr, flush=True)
        watch, started = _Memory(), time.perf_counter()
        one = makers[name]()
        one.seconds = f"{time.perf_counter() - started:.0f}"
        one.megabytes = f"{watch.stop()['anonymous'] / 1e6:.0f}"
        made.append(one)

    def recall_of(one: Any) -> float:
        pairs = zip(one.find(queries).tolist(), truth.tolist(), strict=True)
        return float(np.mean([len(set(found) & set(wanted)) / 10 for found, wanted in pairs]))

    for one in made[1:]:
        is_graph = one.name.startswith(("HNSW", "usearch"))
        for setting in [s for s in SETTINGS if s >= 10 or not is_graph]:
            one.set(setting)
            if recall_of(one) >= float(recall):
                break

    def time_single(one: Any) -> float:
        times = []
        for i in range(N_SINGLE):
            started = time.perf_counter()
            one.find(queries[i : i + 1])
            times.append(time.perf_counter() - started)
        return 1000 * statistics.median(times)

    def time_batch(one: Any) -> float:
        started = time.perf_counter()
        one.find(queries)
        return 1000 * (time.perf_counter() - started) / len(queries)

    singles: list[list[float]] = [[] for _ in made]
    batches: list[list[float]] = [[] for _ in made]
    for _ in range(int(n_rounds)):
        for i, one in enumerate(made):
            singles[i].append(time_single(one))
            batches[i].append(time_batch(one))
    rows = [
        [
            one.name,
            one.setting,
            f"{recall_of(one):.4f}",
            f"{statistics.median(single):.3f}",
            f"{statistics.median(batch):.3f}",
            one.seconds,
            one.megabytes,
        ]
        for one, single, batch in zip(made, singles, batches, strict=True)
    ]
    print(json.dumps({"rows": rows}))


def filters(root: str) -> None:
    """Recall and time under random filters, and under one that leaves a distant region."""
    _paths()
    import statistics
    import time

    import numpy as np

    from indexes.layout import Layout
    from indexes.manifest_file import read_manifest
    from indexes.passage_search import PassageSearch

    layout = Layout(Path(root))
    manifest = read_manifest(layout)
    search, n = PassageSearch(layout, manifest), manifest.n_passages
    queries = np.load(Path(root) / "queries.npy")
    random = np.random.default_rng(8)
    cases = {f"{100 * share:g} %": random.random(n) < share for share in SHARES}
    region = np.zeros(n, dtype=np.bool_)
    region[search.nearest(queries[:1], n // 50, exact=True)[0]] = True
    rows = []
    for name, flags in {**cases, "2 %, one region": region}.items():
        allowed = search.allowed(flags)
        found = search.search(queries, 10, allowed=allowed)
        wanted = search.nearest(queries, 10, allowed=allowed, exact=True)[0]
        pairs = zip(found.positions.tolist(), wanted.tolist(), strict=True)
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in pairs])
        times = []
        for i in range(100):
            started = time.perf_counter()
            search.nearest(queries[i : i + 1], 10, allowed=allowed)
            times.append(1000 * (time.perf_counter() - started))
        step = found.plan.steps[0].line()
        rows.append([name, f"{recall:.4f}", f"{statistics.median(times):.3f}", step])
    print(json.dumps({"rows": rows}))


def update(root: str) -> None:
    """Add a hundredth of the vectors, then delete a hundredth; searches before and after."""
    _paths()
    import statistics
    import time

    import numpy as np
    from synthetic import write_segment

    from indexes.generation_builder import build_generation
    from indexes.generations import plan_generations
    from indexes.layout import Layout
    from indexes.manifest import GenerationRecord
    from indexes.manifest_file import read_manifest
    from indexes.passage_search import PassageSearch

    layout = Layout(Path(root))
    manifest = read_manifest(layout)
    queries = np.load(Path(root) / "queries.npy")

    def latency(search: Any) -> str:
        times = []
        for i in range(N_SINGLE):
            started = time.perf_counter()
            search.nearest(queries[i : i + 1], 10)
            times.append(1000 * (time.perf_counter() - started))
        return f"{statistics.median(times):.3f}"

    rows = [["as built", "", latency(PassageSearch(layout, manifest))]]
    started = time.perf_counter()
    more = np.load(Path(root) / "more.npy")
    added = write_segment(layout, "more", more, texts=["text"] * len(more))
    segments = (*manifest.segments, added)
    written = time.perf_counter() - started
    started = time.perf_counter()
    planned = plan_generations(manifest.generations, segments)
    generations = tuple(
        item
        if isinstance(item, GenerationRecord)
        else build_generation(layout, item, WIDTH, manifest.contract)
        for item in planned
    )
    built = time.perf_counter() - started
    from dataclasses import replace

    changed = replace(manifest, segments=segments, generations=generations)
    seconds = f"{written:.2f} to write, {built:.2f} to build"
    rows.append(["1 % added", seconds, latency(PassageSearch(layout, changed))])
    live = np.random.default_rng(3).random(sum(s.n_passages for s in segments)) > 0.01
    started = time.perf_counter()
    search = PassageSearch(layout, changed, live)
    search.nearest(queries[:1], 10)
    opened = f"{time.perf_counter() - started:.2f} to open"
    rows.append(["1 % deleted", opened, latency(search)])
    print(json.dumps({"rows": rows}))


CHILDREN = {
    "corpus": write_corpus,
    "build": build,
    "race": race,
    "filters": filters,
    "update": update,
}

if __name__ == "__main__" and not run_child(CHILDREN):
    main()
