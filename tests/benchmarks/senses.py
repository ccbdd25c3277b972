"""Senses against people's labels: variants of an occurrence's vector, then every task.

Takes the folder of labelled data, which is not part of the project: the layout is that of `DATA`.
Variants are compared on CoarseWSD-20's training split, half of it against the other half. The
tasks use vectors as an index stores them, and never choose anything by the rows they test.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import ROOT, print_machine, print_table

sys.path.insert(0, str(ROOT))

DATA = {
    "coarse": "coarsewsd20/train.parquet",
    "coarse test": "coarsewsd20/test",
    "semeval": "semeval2010_task14/test_lemmatised_windows.parquet",
    "twsi": "twsi_dev/dev.parquet",
    "semcor": "semcor30/instances.parquet",
    "wic": "wic",
    "rawc": "raw_c/raw_c.parquet",
    "scws": "scws/scws.parquet",
}
PUBLISHED = {
    "CoarseWSD-20, nearest centroid: accuracy, macro F1": (
        "BERT-base .940 .910, BERT-large .958 .932 (20 words)"
    ),
    "CoarseWSD-20, static vectors: macro recall": "fastText .765 to .849 (20 words)",
    # Amplayo et al. 2019, whose windows these are; the others read the sentences themselves.
    "SemEval-2010 task 14: paired F, V, geometric mean x100": (
        "AutoSense 61.7 9.8 24.6, bertwsi 53.6, PolyLM-large 54.3"
    ),
    "WiC dev: accuracy x100": "BERT-base 68.5, MirrorWiC 71.9",
    "RAW-C: Spearman": "BERT .578",
}
VARIANTS = (  # sigma in pieces, weight of the word's own states, and of the middle layer
    (6.0, 0.8, 0.5),
    (6.0, 0.8, 0.0),
    (6.0, 0.8, 1.0),
    (6.0, 0.0, 0.5),
    (3.0, 0.8, 0.5),
    (12.0, 0.8, 0.5),
    (6.0, 0.4, 0.5),
    (6.0, 1.6, 0.5),
)
COMPONENTS = (48, 96, 192)
N_SEMCOR_WORDS = 60
N_PAIRS = 500
"""Training pairs of WiC, and pairs of SCWS, that variants are compared on."""


def main() -> None:
    """Measure and print."""
    options = _options()
    from embedder.encoders import EncoderOptions, open_encoder

    encoder = open_encoder(EncoderOptions(threads=options.threads))
    data = {name: Path(options.data) / path for name, path in DATA.items()}
    if options.index:
        _print_split(options.index)
    if not options.without_variants:
        _print_variants(data, options)
    _print_tasks(encoder, data, options.most)
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder of the labelled data")
    parser.add_argument("--index", help="also say how many words of this index are split")
    parser.add_argument("--most", type=int, default=150, help="uses of a word, but of test rows")
    parser.add_argument("--variant-uses", type=int, default=60, help="uses of a word for variants")
    parser.add_argument("--without-variants", action="store_true")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def _drawn(uses: Sequence[Any], most: int) -> list[Any]:
    """Up to `most` uses of each word, the same on every run, whatever their labels."""
    of_word: dict[str, list[Any]] = defaultdict(list)
    for use in sorted(uses, key=lambda use: zlib.crc32(f"{use.use}".encode())):
        of_word[use.word].append(use)
    return [use for own in of_word.values() for use in own[:most]]


def _print_variants(data: Mapping[str, Path], options: argparse.Namespace) -> None:
    from embedder import occurrences
    from embedder.encoders import EncoderOptions, network, open_encoder
    from embedder.labelled import LabelColumns, read_uses
    from embedder.specs import Engine
    from jobs import sense_basis
    from jobs.use_vectors import full_encoder, stored_encoder

    # Torch looks at the weight of the middle layer when it runs; in a graph it is a constant.
    encoder = open_encoder(EncoderOptions(engine=Engine.TORCH, threads=options.threads))
    uses = _drawn(read_uses([data["coarse"]], LabelColumns()), options.variant_uses)
    rows = []
    for sigma, own, middle in VARIANTS:
        occurrences.SIGMA, occurrences.OWN_WEIGHT, network.MIDDLE_WEIGHT = sigma, own, middle
        name = f"full, sigma {sigma:g}, own weight {own:g}, middle layer {middle:g}"
        rows.append([name, *_halves(uses, full_encoder(encoder)), *_pair_scores(encoder, data)])
    occurrences.SIGMA, occurrences.OWN_WEIGHT, network.MIDDLE_WEIGHT = VARIANTS[0]
    before = sense_basis.N_COMPONENTS
    for n_components in COMPONENTS:
        sense_basis.N_COMPONENTS = n_components
        encode = stored_encoder(encoder, [use.use for use in uses])
        rows.append([f"{n_components} components of one byte", *_halves(uses, encode), "", ""])
    sense_basis.N_COMPONENTS = before
    head = ["vector of an occurrence", "accuracy", "macro F1", "one shot", "ARI", "WiC", "SCWS"]
    print_table(head, rows)
    print(f"\n{len(uses):,} training uses of 20 words, either half against the other.\n")


def _pair_scores(encoder: Any, data: Mapping[str, Path]) -> list[str]:
    """The accuracy on training pairs of WiC, and Spearman on SCWS, of full vectors."""
    from embedder.labelled import LabelColumns, read_matches, read_scores
    from jobs.evaluate_senses import evaluate_matches, evaluate_similarity
    from jobs.use_vectors import full_encoder

    train = read_matches(data["wic"] / "train.parquet", LabelColumns())[:N_PAIRS]
    encode = full_encoder(encoder)
    same = evaluate_matches(train, train, encode)["accuracy"]
    scored = read_scores(data["scws"], LabelColumns())[:N_PAIRS]
    alike = evaluate_similarity(scored, encode)["spearman"]
    return [f"{same:.3f}", f"{alike:.3f}"]


def _halves(uses: Sequence[Any], encode: Callable[..., Any]) -> list[str]:
    from jobs.evaluate_senses import evaluate_centroids, evaluate_few_shots, evaluate_induction
    from jobs.sense_reports import mean_scores

    known = _remembering(encode, [use.use for use in uses])
    halves = (uses[::2], uses[1::2]), (uses[1::2], uses[::2])
    means = [mean_scores(evaluate_centroids(*half, known)) for half in halves]
    few = mean_scores(evaluate_few_shots(*halves[0], known, (1,)))
    found = mean_scores(evaluate_induction(uses, known, least_uses=20, least_senses=1))
    accuracy, f1 = (sum(m[name] for m in means) / 2 for name in ("accuracy", "macro_f1"))
    return [f"{value:.3f}" for value in (accuracy, f1, few["accuracy_1"], found["ari"])]


def _remembering(encode: Callable[..., Any], uses: Sequence[Any]) -> Callable[..., Any]:
    """Vectors of uses that are known from now on: each is encoded once."""
    import numpy as np

    distinct = list(dict.fromkeys(uses))
    rows, places = encode(distinct), {use: number for number, use in enumerate(distinct)}
    return lambda asked: rows[np.array([places[use] for use in asked])]


def _print_tasks(encoder: Any, data: Mapping[str, Path], most: int) -> None:
    rows = []
    for task in (_coarse, _pairs, _induction):
        for name, value in task(encoder, data, most):
            print(f"{name}: {value}", file=sys.stderr, flush=True)
            rows.append([name, value, PUBLISHED.get(name, "")])
    print_table(["task", "embedder, bundled model", "published"], rows)


def _coarse(encoder: Any, data: Mapping[str, Path], most: int) -> list[tuple[str, str]]:
    """CoarseWSD-20: the ten words of which there are test rows."""
    from embedder.checkpoint import open_checkpoint
    from embedder.labelled import LabelColumns, read_uses
    from embedder.static_vectors import StaticVectors
    from jobs.evaluate_senses import (
        evaluate_centroids,
        evaluate_few_shots,
        evaluate_induction,
        summarise_induction,
    )
    from jobs.sense_reports import mean_scores
    from jobs.use_vectors import full_encoder, stored_encoder

    test = read_uses(sorted(data["coarse test"].glob("*.parquet")), LabelColumns())
    words = {use.word for use in test}
    every = read_uses([data["coarse"]], LabelColumns())
    # Other words' uses say only how uses of one sense vary; a part of them is enough for that.
    own = [use for use in every if use.word in words]
    train = own + _drawn([use for use in every if use.word not in words], 2 * most)
    asked = [use.use for use in (*train, *test)]
    known = _remembering(stored_encoder(encoder, [use.use for use in train]), asked)
    full = _remembering(full_encoder(encoder), asked)
    static = StaticVectors(open_checkpoint()).encode_uses
    near, whole = (mean_scores(evaluate_centroids(train, test, e)) for e in (known, full))
    even, even_whole = (
        mean_scores(evaluate_centroids(train, test, e, whiten=True)) for e in (known, full)
    )
    base = mean_scores(evaluate_centroids(own, test, static))
    few = mean_scores(evaluate_few_shots(train, test, known, (1, 3, 10)))
    found = evaluate_induction(test, known, least_uses=20, least_senses=2)
    name = "CoarseWSD-20, nearest centroid: accuracy, macro F1"
    return [
        (name, _both(near)),
        ("the same, full vectors", _both(whole)),
        ("the same, whitened within senses", _both(even)),
        ("the same, full vectors, whitened within senses", _both(even_whole)),
        (
            "CoarseWSD-20, 1, 3, 10 uses a sense: accuracy",
            " ".join(f"{few[f'accuracy_{n}']:.3f}" for n in (1, 3, 10)),
        ),
        ("CoarseWSD-20, static vectors: macro recall", f"{base['macro_recall']:.3f}"),
        ("CoarseWSD-20, induction: ARI, V, senses found of", _groups(summarise_induction(found))),
        ("the same, k-means told the number of senses: ARI, V", _told(test, known)),
    ]


def _both(means: Mapping[str, float]) -> str:
    return f"{means['accuracy']:.3f} {means['macro_f1']:.3f}"


def _told(uses: Sequence[Any], encode: Callable[..., Any]) -> str:
    """What k-means makes of the same vectors when it knows how many senses there are."""
    import numpy as np
    from sklearn.cluster import KMeans

    from jobs.measures import clustering, geometric_mean

    of_word: dict[str, list[Any]] = defaultdict(list)
    for use in uses:
        of_word[use.word].append(use)
    found = []
    for own in of_word.values():
        true = [use.label for use in own]
        if len(own) >= 10 and len(set(true)) > 1:
            groups = KMeans(len(set(true)), n_init=5, random_state=0)
            rows = encode([use.use for use in own])
            found.append(clustering(true, groups.fit_predict(rows).tolist()))
    means = {name: float(np.mean([scores[name] for scores in found])) for name in found[0]}
    text = f"{means['ari']:.3f} {means['v_measure']:.3f}"
    mean = geometric_mean(means["paired_f"], means["v_measure"])
    return f"{text}, paired F and V x100 {100 * mean:.1f}"


def _groups(means: Mapping[str, float]) -> str:
    counts = f"{means['n_found']:.1f} of {means['n_true']:.1f}"
    return f"{means['ari']:.3f} {means['v_measure']:.3f} {counts}"


def _pairs(encoder: Any, data: Mapping[str, Path], most: int) -> list[tuple[str, str]]:
    """WiC, RAW-C and SCWS."""
    from embedder.labelled import LabelColumns, read_matches, read_scores
    from jobs.evaluate_senses import evaluate_matches, evaluate_similarity
    from jobs.use_vectors import stored_encoder

    train, dev = (
        read_matches(data["wic"] / f"{n}.parquet", LabelColumns()) for n in ("train", "dev")
    )
    encode = stored_encoder(encoder, [pair.first for pair in train])
    found = [
        ("WiC dev: accuracy x100", f"{100 * evaluate_matches(train, dev, encode)['accuracy']:.1f}")
    ]
    for name, key in (("RAW-C", "rawc"), ("SCWS", "scws")):
        pairs = read_scores(data[key], LabelColumns())
        encode = stored_encoder(encoder, [pair.first for pair in pairs])
        rho = evaluate_similarity(pairs, encode)["spearman"]
        found.append((f"{name}: Spearman", f"{rho:.3f}"))
    return found


def _induction(encoder: Any, data: Mapping[str, Path], most: int) -> list[tuple[str, str]]:
    """SemEval-2010 task 14, TWSI, and words of SemCor with two senses of five uses each."""
    from embedder.labelled import LabelColumns, read_uses
    from jobs.evaluate_senses import evaluate_induction, summarise_induction
    from jobs.use_vectors import stored_encoder

    sets = {
        "SemEval-2010 task 14": read_uses([data["semeval"]], LabelColumns()),
        "TWSI": read_uses([data["twsi"]], LabelColumns()),
        "SemCor": _semcor(data["semcor"]),
    }
    found = []
    for name, uses in sets.items():
        uses = _drawn(uses, most)
        encode = stored_encoder(encoder, [use.use for use in uses])
        least = {"least_uses": 10, "least_senses": 1 if name.startswith("SemEval") else 2}
        means = summarise_induction(evaluate_induction(uses, encode, **least))
        found.append((f"{name}, induction: ARI, V, senses found of", _groups(means)))
        found.append((f"{name}, k-means told the number of senses: ARI, V", _told(uses, encode)))
        if name.startswith("SemEval"):
            values = [means[n] for n in ("paired_f", "v_measure", "geometric_mean")]
            text = " ".join(f"{100 * value:.1f}" for value in values)
            found.append((f"{name}: paired F, V, geometric mean x100", text))
    return found


def _semcor(path: Path) -> list[Any]:
    """Uses of some words with at least two senses of at least five uses, forty uses in all."""
    from embedder.labelled import LabelColumns, read_uses

    of_word: dict[str, list[Any]] = defaultdict(list)
    for use in read_uses([path], LabelColumns()):
        if "_" not in use.word:
            of_word[use.word].append(use)
    fit = [word for word, uses in of_word.items() if len(uses) >= 40 and _n_frequent(uses) >= 2]
    chosen = sorted(fit, key=lambda word: zlib.crc32(word.encode()))[:N_SEMCOR_WORDS]
    return [use for word in chosen for use in _drawn(of_word[word], 60)]


def _n_frequent(uses: Sequence[Any]) -> int:
    labels = [use.label for use in uses]
    return sum(labels.count(label) >= 5 for label in set(labels))


def _print_split(index: str) -> None:
    import numpy as np

    from indexes.layout import Layout
    from indexes.manifest_file import read_manifest
    from indexes.sense_inventory import SenseInventory

    layout = Layout(Path(index))
    record = read_manifest(layout).senses
    assert record is not None, f"{index} has no senses"
    counts = np.diff(SenseInventory(layout, record).starts)
    print(
        f"{len(counts):,} words with senses, {(counts > 1).mean():.1%} of them with more than one, "
        f"{counts.mean():.2f} on average.\n"
    )


if __name__ == "__main__":
    main()
