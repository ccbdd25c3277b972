"""Extractive question answering: where in a text the answer stands, if it has one.

As in Devlin et al. 2019 (4.2 and 4.3): the question and a window over the text are read as one,
and a linear layer says of each piece how well an answer starts and ends there. The first piece
stands for no answer, also in windows that the answer is not in. Other pieces than those of the
text cannot be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from embedder.answer_measures import measure_answers, score_answer
from embedder.answer_spans import fit_threshold
from embedder.answer_windows import Window, make_windows, pieces_of
from embedder.answered_questions import AnswerColumns, AnsweredQuestion, read_answered_questions
from embedder.heads.answer import AnswerSettings
from embedder.heads.answer_reader import FoundSpan, collate_windows
from embedder.training.answer_model import AnswerModel
from embedder.training.encoder import TrainableEncoder, open_trainable
from embedder.training.run import Batch, Measures, TrainingRun
from embedder.training.task import TaskRequest, hold_out

WINDOW = 384
QUESTION_TOKENS = 64
OVERLAP = 128
ANSWER_TOKENS = 30
"""As usual for SQuAD (Devlin et al. 2019), where the model's own window is not smaller."""


class Example(NamedTuple):
    """A window and the answer in it.

    Args:
        window: the question and a stretch of its text.
        first: place of the answer's first piece; 0 where it is not there.
        last: place of its last piece; 0 where it is not there.
    """

    window: Window
    first: int
    last: int


def prepare_answer(request: TaskRequest) -> TrainingRun:
    """The training run for questions about texts.

    Columns: question, context, answer_texts, answer_starts.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        RequestError: the windows are too short.
        ModelError: the model cannot be used.
    """
    columns = AnswerColumns(**request.columns)
    questions = read_answered_questions(request.only_train, columns)
    if request.dev is None:
        questions, dev = hold_out(questions, request.options.seed, lambda q: q.context)
    else:
        dev = read_answered_questions(request.dev, columns)
    encoder = _open_encoder(request)
    model = AnswerModel(encoder, _settings(request.settings), seed=request.options.seed)
    examples, facts = make_examples(model, questions)
    is_always_answered = all(question.answers for question in questions)
    default = -math.inf if is_always_answered else 0.0
    return TrainingRun(
        model=model,
        transformer=encoder.transformer,
        examples=examples,
        lengths=[len(example.window.piece_ids) for example in examples],
        collate=lambda batch: collate_examples(encoder.tokenizer.pad_id, batch),
        evaluate=lambda: measure(model, dev, default),
        goal="f1",
        save=lambda folder: model.save(folder, columns),
        facts={**facts, "evaluation questions": len(dev)},
    )


def _open_encoder(request: TaskRequest) -> TrainableEncoder:
    window = request.settings.get("window")
    encoder = open_trainable(request.model, max_tokens=window)
    if window is None:
        # A sentence encoder's folder may ask for less than its network can take.
        limit = min(WINDOW, encoder.checkpoint.position_limit)
        encoder.spec = encoder.checkpoint.spec(max_tokens=limit)
    return encoder


def _settings(asked: Mapping[str, Any]) -> AnswerSettings:
    return AnswerSettings(
        max_question_tokens=asked.get("question_tokens", QUESTION_TOKENS),
        overlap=asked.get("overlap", OVERLAP),
        max_answer_tokens=asked.get("answer_tokens", ANSWER_TOKENS),
        null_threshold=None,
    )


def make_examples(
    model: AnswerModel, questions: Sequence[AnsweredQuestion]
) -> tuple[list[Example], dict[str, int]]:
    """The windows of all questions with the first answer of each, and facts about them.

    Questions whose answer the tokenizer drops are left out: their windows would teach that there
    is none.
    """
    examples, held, dropped = [], set(), set()
    for window in make_windows(
        model.encoder.tokenizer,
        [question.question for question in questions],
        [question.context for question in questions],
        model.spec,
    ):
        answers = questions[window.row].answers
        pieces = pieces_of(answers[0], window.spans) if answers else None
        if answers and pieces is None:
            dropped.add(window.row)
            continue
        place = window.place(pieces) if pieces else None
        if place:
            held.add(window.row)
        examples.append(Example(window, *(place or (0, 0))))
    n_without = sum(not question.answers for question in questions)
    return examples, {
        "training questions": len(questions),
        "training questions without an answer": n_without,
        "training windows": len(examples),
        "answers that are whole in no window": len(questions)
        - n_without
        - len(held)
        - len(dropped),
        "answers that the tokenizer drops": len(dropped),
    }


def collate_examples(pad_id: int, examples: Sequence[Example]) -> Batch:
    """Examples as a batch of `AnswerModel`."""
    batch = collate_windows([example.window for example in examples], pad_id)
    can_hold = torch.zeros(batch["piece_ids"].shape, dtype=torch.bool)
    for row, example in enumerate(examples):
        can = example.window.can_hold_answer()
        can_hold[row, : len(can)] = torch.from_numpy(can)
    return {
        **batch,
        "can_hold_answer": can_hold,
        "firsts": torch.tensor([example.first for example in examples]),
        "lasts": torch.tensor([example.last for example in examples]),
    }


def measure(model: AnswerModel, questions: Sequence[AnsweredQuestion], default: float) -> Measures:
    """Exact match and F1; where some questions have no answer, the model's threshold is fitted
    to them, for the highest F1, as SQuAD 2.0 does.

    Args:
        model: what answers.
        questions: what it is asked.
        default: the threshold where all of them have an answer.
    """
    contexts = [question.context for question in questions]
    found = model.reader().read([question.question for question in questions], contexts)
    texts = [context[span.start : span.end] for span, context in zip(found, contexts, strict=True)]
    wanted = [question.texts for question in questions]
    threshold = default
    if not all(wanted):
        threshold = _fit(found, texts, wanted)
    model.null_threshold.fill_(threshold)  # type: ignore[operator]
    is_sure = [span.margin > threshold for span in found]
    answers = [text if sure else None for text, sure in zip(texts, is_sure, strict=True)]
    return measure_answers(answers, wanted)


def _fit(
    found: Sequence[FoundSpan], texts: Sequence[str], wanted: Sequence[Sequence[str]]
) -> float:
    return fit_threshold(
        np.array([span.margin for span in found]),
        np.array([score_answer(*pair).f1 for pair in zip(texts, wanted, strict=True)]),
        np.array([score_answer(None, texts).f1 for texts in wanted]),
    )
