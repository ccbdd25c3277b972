"""A model card: what a trained model is, what it was trained on and how well it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedder.training.run import TrainingRecord

CARD_FILE, CURVE_FILE = "README.md", "learning-curve.png"


def write_card(
    title: str, usage: str, request: Mapping[str, Any], record: TrainingRecord, facts: Any
) -> str:
    """The card, as Markdown.

    Args:
        title: what was trained.
        usage: the command that uses the folder.
        request: what was asked for, by name.
        record: how it went.
        facts: numbers of rows, labels and so on, by name.
    """
    start = record.curve[0].measures
    rows = [
        f"| {name.replace('_', ' ')} | {_number(start.get(name))} | {_number(value)} |"
        for name, value in record.measures.items()
    ]
    stopped = ", stopped early" if record.stopped_early else ""
    return "\n".join(
        [
            f"# {title}",
            "",
            f"    {usage}",
            "",
            "## Measured on held-out data",
            "",
            "| measure | before training | best |",
            "|---|---|---|",
            *rows,
            "",
            f"The checkpoint of step {record.best_step:,} of {record.n_steps:,} was kept, the best "
            f"by {record.goal.replace('_', ' ')}{stopped}.",
            "",
            f"![Loss and {record.goal} over steps]({CURVE_FILE})",
            "",
            "## Trained",
            "",
            f"In {record.seconds:,.0f} s on {record.device} in {record.precision}, with at most "
            f"{record.peak_memory / 2**20:,.0f} MiB of memory.",
            "",
            *[f"- {name}: {_text(value)}" for name, value in {**facts, **request}.items()],
            "",
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        given = {k: v for k, v in value.items() if v is not None and v is not False}
        return ", ".join(f"{k} {_text(v)}" for k, v in given.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(
            " ".join(map(str, item)) if isinstance(item, list | tuple) else str(item)
            for item in value[:20]
        )
        return f"{shown} and {len(value) - 20} more" if len(value) > 20 else shown
    return f"`{value}`" if isinstance(value, str) else str(value)
