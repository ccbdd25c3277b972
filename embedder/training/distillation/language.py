"""Distillation of masked language models, as of DistilBERT (Sanh et al. 2019).

The student is to give the teacher's probabilities of all pieces in place of masked ones, softened
by a temperature (Hinton et al. 2015), to find the masked pieces themselves, and to have states of
the teacher's direction. Scores are compared where a piece is to be found, which is where the
teacher was trained to give them; states are at every piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import exp
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from embedder.checkpoint import Checkpoint
from embedder.errors import RequestError
from embedder.training.distillation.sentences import Teacher, hidden_loss, layer_states
from embedder.training.pretraining.language_model import piece_scores, transformer_of
from embedder.training.pretraining.network import sum_outputs
from embedder.training.run import IGNORED, Batch, Measures

TEMPERATURE = 2.0
SOFT, HARD, HIDDEN = 5.0, 2.0, 1.0
"""Weights of the three losses, as published."""

HEAD_WEIGHTS = {
    "bert": "cls.predictions.",
    "camembert": "lm_head.",
    "distilbert": "vocab_transform.",
    "electra": "generator_predictions.",
    "modernbert": "head.",
    "mpnet": "lm_head.",
    "roberta": "lm_head.",
    "xlm-roberta": "lm_head.",
}
"""Beginnings of the names of the weights that find masked pieces, for each kind of model."""


def check_head(checkpoint: Checkpoint) -> None:
    """Raise RequestError unless a model has the weights that find masked pieces."""
    start = HEAD_WEIGHTS.get(str(checkpoint.config.get("model_type")))
    for path in checkpoint.weight_files:
        with safe_open(path, "numpy") as weights:
            if start and any(name.startswith(start) for name in weights.keys()):  # noqa: SIM118
                return
    raise RequestError(
        f"{checkpoint.name} has no weights that find masked pieces, so it has none to teach.",
        "Use --objective sentence, or a teacher that was pre-trained and not yet made an encoder.",
    )


class LanguageDistillation(nn.Module):
    """A student with its losses against its teacher.

    Args:
        student: a language model, which is trained.
        teacher: the one it learns from.
        matched: for each layer of the student, the teacher's layer; see `match_layers`.
        n_to_find: the mean number of pieces to find in an example; see `PretrainingNetwork`.
    """

    def __init__(
        self, student: Any, teacher: Any, matched: Sequence[int], n_to_find: float
    ) -> None:
        super().__init__()
        self.student = student
        self._teacher = Teacher(teacher)
        self._matched = list(matched)
        self._n_to_find = n_to_find

    def forward(
        self, piece_ids: Tensor, attention_mask: Tensor, segments: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """The loss of a batch, and the sums that validation adds up.

        Args:
            piece_ids: int64, shape (n_examples, length).
            attention_mask: the same shape, 1 for a piece and 0 for padding.
            segments: the same shape; not looked at.
            labels: the same shape: the piece to find, `IGNORED` where there is none.

        Returns:
            `loss`, and detached sums over pieces: `soft`, `hard`, `n_found`, `teacher_hard`,
            `n_teacher_found`, `n_asked`; and `hidden`, a sum over examples.
        """
        is_asked = labels != IGNORED
        wanted = labels[is_asked]
        teacher = self._teacher.on(piece_ids.device)
        with torch.no_grad():
            theirs, states = _run(teacher, piece_ids, attention_mask, is_asked)
        own, own_states = _run(self.student, piece_ids, attention_mask, is_asked)
        soft = soft_loss(own, theirs)
        hard = cross_entropy(own, wanted, reduction="sum")
        like = [states[number] for number in self._matched]
        hidden = hidden_loss(own_states, like, attention_mask)
        n_expected = len(piece_ids) * self._n_to_find
        return {
            "loss": (SOFT * soft + HARD * hard) / n_expected + HIDDEN * hidden,
            "soft": soft.detach(),
            "hard": hard.detach(),
            "hidden": hidden.detach() * len(piece_ids),
            "n_found": (own.detach().argmax(-1) == wanted).sum(),
            "teacher_hard": cross_entropy(theirs, wanted, reduction="sum"),
            "n_teacher_found": (theirs.argmax(-1) == wanted).sum(),
            "n_asked": is_asked.sum(),
        }


def _run(
    model: Any, piece_ids: Tensor, attention_mask: Tensor, is_asked: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Scores of all pieces where one is to be found, (n_asked, n_pieces), and the states."""
    output = transformer_of(model)(
        input_ids=piece_ids, attention_mask=attention_mask, output_hidden_states=True
    )
    scores = piece_scores(model, output.last_hidden_state[is_asked]).float()
    return scores, layer_states(output)


def soft_loss(own: Tensor, wanted: Tensor) -> Tensor:
    """Divergence of softened probabilities (Kullback and Leibler 1951), summed over places.

    Args:
        own: scores, shape (n_places, n_pieces).
        wanted: the teacher's, the same shape.
    """
    ours = (own / TEMPERATURE).log_softmax(-1)
    theirs = (wanted / TEMPERATURE).log_softmax(-1)
    # Softening makes gradients smaller by the square of the temperature.
    return kl_div(ours, theirs, reduction="sum", log_target=True) * TEMPERATURE**2


def measure_language(
    network: LanguageDistillation, batches: Callable[[], Iterable[Batch]]
) -> Measures:
    """What a student is worth on held-out text, beside its teacher.

    Args:
        network: in evaluation mode.
        batches: starts going through the text.

    Returns:
        `loss`, what is trained; `divergence`, soft_loss of a place; `state_cosine`, of states
        after matched layers; `mlm_loss`, `perplexity`, `masked_accuracy`, and the same of the
        teacher.
    """
    totals, n_examples = sum_outputs(network, batches())
    n_asked, hidden = max(1.0, totals["n_asked"]), totals["hidden"] / max(1, n_examples)
    soft, hard, teacher = (totals[name] / n_asked for name in ("soft", "hard", "teacher_hard"))
    return {
        "loss": SOFT * soft + HARD * hard + HIDDEN * hidden,
        "divergence": soft,
        "state_cosine": 1 - hidden,
        "mlm_loss": hard,
        "teacher_mlm_loss": teacher,
        "perplexity": exp(min(hard, 700.0)),
        "masked_accuracy": totals["n_found"] / n_asked,
        "teacher_masked_accuracy": totals["n_teacher_found"] / n_asked,
    }
