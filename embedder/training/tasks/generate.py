"""Generation: a text for a text, by BERT as encoder and BERT as decoder.

Both start from the same weights (Rothe et al. 2020, BERT2BERT); the decoder's attention to what
was read, and the layer before its output where the model has none, start from chance. It can also
take pieces over from what it read (`embedder.heads.copying`), so that it learns from few examples.
"""

from __future__ import annotations

from collections.abc import Sequence

from embedder.checkpoint import open_checkpoint
from embedder.errors import RequestError
from embedder.generation_pairs import GenerationPair, read_generation_pairs
from embedder.heads.inputs import encode_inputs
from embedder.heads.text_generator import GenerateSettings, TextGenerator
from embedder.rouge import first_sentence, measure_rouge
from embedder.training.encoder import EVALUATION_TOKENS
from embedder.training.generate_model import Example, GenerateModel, warm_start
from embedder.training.run import Measures, TrainingRun
from embedder.training.task import TaskRequest, hold_out

SETTINGS = GenerateSettings(
    target_tokens=64, beams=4, length_penalty=1.0, no_repeat_ngram=3, copy=True
)
"""Where nothing else is asked for."""


def prepare_generate(request: TaskRequest) -> TrainingRun:
    """The training run for texts with targets.

    Columns: source, target. Of several targets the first is learnt, and all count in evaluation.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        RequestError: a setting makes no sense.
        ModelError: the model cannot be used, or has no decoder.
    """
    read = read_generation_pairs(request.only_train, request.columns)
    pairs = read.pairs
    if request.dev is None:
        pairs, dev = hold_out(pairs, request.options.seed, lambda p: p.source)
    else:
        dev = read_generation_pairs(request.dev, request.columns).pairs
    n_dev = len(dev)
    dev = dev[: request.settings.get("eval_rows") or n_dev]
    model = _open_model(request)
    examples, facts = make_examples(model, pairs)
    lead = measure_lead(dev)
    return TrainingRun(
        model=model,
        transformer=model.network.encoder,
        examples=examples,
        lengths=[len(example.source) + len(example.target) for example in examples],
        collate=model.collate,
        evaluate=lambda: measure(model, dev),
        goal="rougeL",
        save=lambda folder: model.save(folder, {**read.columns, "text": read.columns["source"]}),
        facts={
            **facts,
            "evaluation texts": len(dev),
            **{f"{name} of the first sentence": round(value, 4) for name, value in lead.items()},
        },
    )


def measure_lead(pairs: Sequence[GenerationPair]) -> Measures:
    """What the first sentence of each text would get: the baseline."""
    return measure_rouge(
        [first_sentence(pair.source) for pair in pairs], [pair.targets for pair in pairs]
    )


def _open_model(request: TaskRequest) -> GenerateModel:
    asked = request.settings
    checkpoint = open_checkpoint(request.model)
    values = {name: asked[name] for name in SETTINGS.to_json() if name in asked}
    settings = GenerateSettings(**{**SETTINGS.to_json(), **values})
    # A sentence encoder's folder may ask for less than its network can take.
    window = checkpoint.spec(max_tokens=asked.get("window") or checkpoint.position_limit).max_tokens
    if settings.target_tokens > checkpoint.position_limit:
        raise RequestError(
            f"Targets of {settings.target_tokens} tokens were asked for, and "
            f"{checkpoint.name} takes {checkpoint.position_limit} at most.",
            "Give a smaller --target-tokens.",
        )
    network = warm_start(
        checkpoint,
        seed=request.options.seed,
        tie=asked.get("tie_embeddings", True),
        copying=settings.copy,
    )
    return GenerateModel(network, checkpoint, settings, window)


def make_examples(
    model: GenerateModel, pairs: Sequence[GenerationPair]
) -> tuple[list[Example], dict[str, int]]:
    """Texts with their first targets as pieces, and facts about them."""
    sources = encode_inputs(model.tokenizer, [[pair.source for pair in pairs]], model.max_tokens)
    inside = model.tokenizer.encode_inside_with_spans([pair.targets[0] for pair in pairs])
    room = model.settings.target_tokens - 1  # for the piece that ends it
    targets = [ids for ids, _ in inside]
    examples = [
        Example(source, target[:room])
        for source, target in zip(sources.pieces, targets, strict=True)
    ]
    return examples, {
        "training texts": len(pairs),
        "texts cut off at the window": sources.n_cut,
        "targets cut off": sum(len(target) > room for target in targets),
    }


def measure(model: GenerateModel, pairs: Sequence[GenerationPair]) -> Measures:
    """ROUGE of what is written, without beams, which take times as long as they are."""
    greedy = GenerateSettings(**{**model.settings.to_json(), "beams": 1})
    generator = TextGenerator(
        network=model.network,
        tokenizer=model.tokenizer,
        max_tokens=model.max_tokens,
        settings=greedy,
        max_batch_tokens=EVALUATION_TOKENS,
    )
    found = generator.generate([pair.source for pair in pairs])
    return measure_rouge(found, [pair.targets for pair in pairs])
