"""`embedder blend`: the mean of a model and the one that it was trained from, as a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedder.errors import RequestError
from embedder.specs import EncoderSpec
from jobs.model_card import CARD_FILE
from jobs.output import check_new_folder
from jobs.progress import Progress
from jobs.working_folder import publish_model, working_beside


@dataclass(frozen=True, kw_only=True)
class BlendOptions:
    """What to blend, and where to.

    Args:
        model: `default`, a model folder, or a name on the hub; its window is the result's.
        other: another, of the same shape and vocabulary.
        out: the model folder, which must not be there.
        share: of the other's weights in the result, from 0 to 1.

    Raises:
        RequestError: the share is none.
    """

    model: str
    other: str
    out: str | Path
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise RequestError(f"A share of {self.share} is none.", "Give one from 0 to 1.")


def blend(options: BlendOptions, progress: Progress | None = None) -> Path:
    """Write the mean of two encoders; the folder appears when it is complete.

    Args:
        options: of what, and where to.
        progress: told of what happens; silent by default.

    Returns:
        The folder.

    Raises:
        EmbedderError: see the subclasses. Then nothing has been written.
    """
    progress = progress or Progress()
    final = check_new_folder(options.out)
    progress.start_stage("opening")
    from embedder.training.blending import blend_weights
    from embedder.training.encoder import open_trainable

    encoder, other = open_trainable(options.model), open_trainable(options.other)
    blend_weights(encoder, other, options.share)
    with working_beside(final) as room:
        progress.start_stage("writing")
        made = room / "model"
        made.mkdir()
        encoder.save(made)
        parts = ((1 - options.share, encoder.spec), (options.share, other.spec))
        (made / CARD_FILE).write_text(_card(final, parts), "utf-8")
        publish_model(made, final)
    return final


def _card(folder: Path, parts: Sequence[tuple[float, EncoderSpec]]) -> str:
    """What the folder is, as Markdown.

    Args:
        folder: where it will be.
        parts: the shares of weights in it, and whose they are.
    """
    rows = [f"| {share:g} | `{spec.model}` | `{spec.weights}` |" for share, spec in parts]
    return "\n".join(
        [
            f"# {folder.name}",
            "",
            f"    embedder index corpus.parquet --model {folder}",
            "",
            "The mean of the weights of two encoders:",
            "",
            "| share | model | digest of its weights |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
