"""A learning curve as a picture."""

from __future__ import annotations

import io

from embedder.training.run import CurvePoint

INK, FAINT, LOSS, GOAL = "#1d1f24", "#c9ccd3", "#8a5a00", "#1f5fae"


def render_curve(curve: list[CurvePoint], goal: str, title: str) -> bytes:
    """The training loss, and the measure that picked the best checkpoint, over steps; as PNG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Other settings of the user's would change the picture.
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = Figure(figsize=(8, 4.5), dpi=120, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        left = figure.add_subplot()
        right = left.twinx()
        losses = [(point.step, point.loss) for point in curve if point.loss is not None]
        goals = [(point.step, point.measures[goal]) for point in curve if point.measures]
        lines = [
            *left.plot(*_columns(losses), color=LOSS, label="training loss"),
            *right.plot(*_columns(goals), "o-", color=GOAL, label=goal.replace("_", " ")),
        ]
        left.set_xlabel("step")
        left.set_ylabel("training loss", color=LOSS)
        right.set_ylabel(goal.replace("_", " "), color=GOAL)
        left.grid(color=FAINT, linewidth=0.5)
        left.set_title(title, color=INK, fontsize=11)
        left.legend(handles=lines, loc="center right", frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _columns(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
