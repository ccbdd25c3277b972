"""What every job that trains a model gives back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedder.training.run import Measures, TrainingRecord


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """What was trained.

    Args:
        folder: the model.
        record: how it went.
        facts: numbers of rows, labels, layers and so on.
        seconds: how long it took in all.
    """

    folder: Path
    record: TrainingRecord
    facts: dict[str, Any]
    seconds: float

    @property
    def before(self) -> Measures:
        """Measures of the model that it started from."""
        return self.record.curve[0].measures

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary, without the curve, which metrics.json has."""
        values = asdict(self)
        values["record"].pop("curve")
        return {**values, "folder": str(self.folder), "before": self.before}
