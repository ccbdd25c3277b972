"""Measures of labels and tags, by scikit-learn and seqeval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from embedder.bio import OUTSIDE, is_bio
from embedder.heads.columns import label_text
from embedder.heads.protocol import Label

SEQEVAL_MEANS = ("micro avg", "macro avg", "weighted avg")
"""Rows of its report that are of no kind of span."""


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """How well one label, or one kind of span, is found.

    Args:
        label: the label.
        precision: share of what was found that is right.
        recall: share of what is there that was found.
        f1: their harmonic mean.
        support: how many there are.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int

    def to_json(self) -> dict[str, object]:
        """The fields by name."""
        return asdict(self)


def classification_measures(
    true: Sequence[Label], found: Sequence[Label], labels: Sequence[Label]
) -> dict[str, float]:
    """Accuracy and macro F1, and Matthews' correlation where there are two labels.

    Args:
        true: the label of each row.
        found: the one that was predicted.
        labels: those that can be predicted.
    """
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    expected, answered = _texts(true), _texts(found)
    macro = f1_score(expected, answered, average="macro", zero_division=0)
    measures = {
        "accuracy": float(accuracy_score(expected, answered)),
        "macro_f1": float(macro),
    }
    if len(labels) == 2:
        measures["mcc"] = float(matthews_corrcoef(expected, answered))
    return measures


def classification_scores(true: Sequence[Label], found: Sequence[Label]) -> list[LabelScore]:
    """Precision, recall and F1 of each label that is there or was predicted, by name."""
    from sklearn.metrics import precision_recall_fscore_support

    expected, answered = _texts(true), _texts(found)
    labels = sorted({*expected, *answered})
    columns = precision_recall_fscore_support(
        expected, answered, labels=labels, average=None, zero_division=0
    )
    return [
        LabelScore(label=label, precision=float(p), recall=float(r), f1=float(f), support=int(n))
        for label, p, r, f, n in zip(labels, *columns, strict=True)
    ]


def tagging_measures(
    true: Sequence[Sequence[Label]], found: Sequence[Sequence[Label]], labels: Sequence[Label]
) -> dict[str, float]:
    """Accuracy of words, and for BIO tags precision, recall and F1 of spans before it.

    A span counts as found where its words and its kind are right (CoNLL-2000, as seqeval has it).

    Args:
        true: the tags of each sentence.
        found: those that were predicted.
        labels: the tags of training, which say whether they are BIO.
    """
    accuracy = classification_measures(_flat(true), _flat(found), labels)["accuracy"]
    if not is_bio(labels):
        return {"accuracy": accuracy}
    from seqeval.metrics import f1_score, precision_score, recall_score

    expected, answered = _rows(true), _rows(found)
    functions = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
    spans = {n: float(f(expected, answered, zero_division=0)) for n, f in functions.items()}
    return {**spans, "accuracy": accuracy}


def tagging_scores(
    true: Sequence[Sequence[Label]], found: Sequence[Sequence[Label]], labels: Sequence[Label]
) -> list[LabelScore]:
    """Precision, recall and F1 of each kind of span for BIO tags, else of each tag."""
    if not is_bio(labels):
        return classification_scores(_flat(true), _flat(found))
    from seqeval.metrics import classification_report

    if not any(tag != OUTSIDE for row in (*true, *found) for tag in row):
        return []
    report = classification_report(_rows(true), _rows(found), output_dict=True, zero_division=0)
    return [
        LabelScore(
            label=label,
            precision=float(row["precision"]),
            recall=float(row["recall"]),
            f1=float(row["f1-score"]),
            support=int(row["support"]),
        )
        for label, row in sorted(report.items())
        if label not in SEQEVAL_MEANS
    ]


def _texts(labels: Sequence[Label]) -> list[str]:
    return [label_text(label) for label in labels]


def _flat(rows: Sequence[Sequence[Label]]) -> list[Label]:
    return [tag for row in rows for tag in row]


def _rows(rows: Sequence[Sequence[Label]]) -> list[list[str]]:
    return [[str(tag) for tag in row] for row in rows]
