"""`embedder evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from embedder.encoders import EncoderOptions
    from embedder.labelled import LabelColumns
    from jobs.sense_reports import Report, Scores
    from jobs.use_vectors import UseEncoder

SHOTS = (1, 3, 10)


@click.group("evaluate")
def evaluate_group() -> None:
    """Measure a model on labelled data of your own."""


@evaluate_group.group("senses")
def senses_group() -> None:
    """Measure how well vectors of uses of words tell senses apart.

    \b
    Parquet, a row a use (a row a pair for pairs and similarity):
      word               the word, by which uses are grouped (not needed for pairs)
      text, start, end   a text, and the word's characters in it, half-open
      or tokens, target_index
                         words, and the number of the one that is meant, from 0
      or text, target    the word as it stands in the text, whose first place counts
      sense              the label; for pairs label (true or false), for similarity score
    In pairs the columns of the two sides end in 1 and 2: text1, start1, end1, text2, ...
    """


def _columns_options(command: Callable[..., None]) -> Callable[..., None]:
    names = {
        "--label": "Column of the label.  [default: sense, class_id or label]",
        "--target": "Column of the word as it stands.  [default: target]",
        "--target-index": "Column of its number among the tokens.  [default: target_index]",
        "--tokens": "Column of the tokens.  [default: tokens]",
        "--end": "Column of its end.  [default: end]",
        "--start": "Column of its first character.  [default: start]",
        "--text": "Column of the text.  [default: text]",
        "--word": "Column of the word.  [default: word]",
    }
    for name, text in names.items():
        command = click.option(name, metavar="COLUMN", help=text)(command)
    return command


def _model_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option("--format", type=click.Choice(["text", "json", "csv"]), default="text"),
        click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: all]"),
        click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto"),
        click.option("--engine", type=click.Choice(["auto", "openvino", "torch"]), default="auto"),
        click.option("--model", help="A model folder or a name.  [default: the bundled one]"),
    ]
    for option in options:
        command = option(command)
    return command


_full_option = click.option(
    "--full", is_flag=True, help="Vectors as the encoder gives them, not as an index stores them."
)


@senses_group.command("centroid")
@click.argument("train", metavar="TRAIN.parquet")
@click.argument("test", nargs=-1, required=True, metavar="TEST.parquet...")
@click.option(
    "--whiten",
    is_flag=True,
    help="Even out how uses of one label differ, as the training uses of all words show it.",
)
@_columns_options
@_full_option
@_model_options
def centroid_command(train: str, test: tuple[str, ...], whiten: bool, **options: Any) -> None:
    """Give each test use the label whose training uses' mean is nearest."""
    from embedder.labelled import read_uses
    from jobs.evaluate_senses import evaluate_centroids

    known, asked = read_uses([train], _columns(options)), read_uses(test, _columns(options))
    encode, name = _encoder(options, [use.use for use in known])
    scores = evaluate_centroids(known, asked, encode, whiten=whiten)
    _write_words(scores, name, options)


@senses_group.command("few-shot")
@click.argument("train", metavar="TRAIN.parquet")
@click.argument("test", nargs=-1, required=True, metavar="TEST.parquet...")
@click.option(
    "--shots",
    type=click.IntRange(1),
    multiple=True,
    default=SHOTS,
    help="Training uses a label; may be given several times.",
)
@_columns_options
@_full_option
@_model_options
def few_shot_command(
    train: str, test: tuple[str, ...], shots: tuple[int, ...], **options: Any
) -> None:
    """The same with a few training uses a label, drawn several times."""
    from embedder.labelled import read_uses
    from jobs.evaluate_senses import evaluate_few_shots

    known, asked = read_uses([train], _columns(options)), read_uses(test, _columns(options))
    encode, name = _encoder(options, [use.use for use in known])
    _write_words(evaluate_few_shots(known, asked, encode, shots), name, options)


@senses_group.command("static")
@click.argument("train", metavar="TRAIN.parquet")
@click.argument("test", nargs=-1, required=True, metavar="TEST.parquet...")
@_columns_options
@_model_options
def static_command(train: str, test: tuple[str, ...], **options: Any) -> None:
    """The same with one vector a word, averaged over the text: the baseline.

    The vectors are the model's own input vectors; --engine and --precision change nothing.
    """
    from embedder.checkpoint import open_checkpoint
    from embedder.labelled import read_uses
    from embedder.model_location import DEFAULT_MODEL
    from embedder.static_vectors import StaticVectors
    from jobs.evaluate_senses import evaluate_centroids

    known, asked = read_uses([train], _columns(options)), read_uses(test, _columns(options))
    vectors = StaticVectors(open_checkpoint(options["model"] or DEFAULT_MODEL))
    scores = evaluate_centroids(known, asked, vectors.encode_uses)
    _write_words(scores, "input vectors of word pieces", options)


@senses_group.command("induction")
@click.argument("data", nargs=-1, required=True, metavar="DATA.parquet...")
@click.option("--least-uses", type=click.IntRange(1), default=20, help="Of a word.")
@click.option("--least-senses", type=click.IntRange(1), default=2, help="Labels of a word.")
@_columns_options
@_full_option
@_model_options
def induction_command(
    data: tuple[str, ...], least_uses: int, least_senses: int, **options: Any
) -> None:
    """Group the uses of each word without labels, and compare the groups with the labels."""
    from embedder.labelled import read_uses
    from jobs.evaluate_senses import evaluate_induction, summarise_induction
    from jobs.sense_reports import Report

    uses = read_uses(data, _columns(options))
    encode, name = _encoder(options, [use.use for use in uses])
    words = evaluate_induction(uses, encode, least_uses=least_uses, least_senses=least_senses)
    summary = summarise_induction(words)
    _write(Report(words=words, summary=summary, representation=name), options)


@senses_group.command("pairs")
@click.argument("train", metavar="TRAIN.parquet")
@click.argument("dev", metavar="DEV.parquet")
@_columns_options
@_full_option
@_model_options
def pairs_command(train: str, dev: str, **options: Any) -> None:
    """Say of pairs whether they have one sense, by a threshold that is fitted on TRAIN alone."""
    from embedder.labelled import read_matches
    from jobs.evaluate_senses import evaluate_matches
    from jobs.sense_reports import Report

    known, asked = read_matches(train, _columns(options)), read_matches(dev, _columns(options))
    encode, name = _encoder(options, [pair.first for pair in known])
    _write(Report(summary=evaluate_matches(known, asked, encode), representation=name), options)


@senses_group.command("similarity")
@click.argument("data", metavar="DATA.parquet")
@_columns_options
@_full_option
@_model_options
def similarity_command(data: str, **options: Any) -> None:
    """Rank pairs by their cosine, and compare that with how people scored them."""
    from embedder.labelled import read_scores
    from jobs.evaluate_senses import evaluate_similarity
    from jobs.sense_reports import Report

    pairs = read_scores(data, _columns(options))
    encode, name = _encoder(options, [pair.first for pair in pairs])
    _write(Report(summary=evaluate_similarity(pairs, encode), representation=name), options)


def _columns(options: dict[str, Any]) -> LabelColumns:
    from dataclasses import fields

    from embedder.labelled import LabelColumns

    names = {field.name for field in fields(LabelColumns)}
    return LabelColumns(**{n: v for n, v in options.items() if n in names and v is not None})


def _encoder(options: dict[str, Any], uses: list[Any]) -> tuple[UseEncoder, str]:
    """What makes vectors, and what they are; few components are fitted to the texts of `uses`."""
    from embedder.encoders import open_encoder
    from jobs.use_vectors import full_encoder, stored_encoder

    encoder = open_encoder(_encoder_options(options))
    made = f"{encoder.encoder.spec.model}, {encoder.encoder.description}"
    if options["full"]:
        return full_encoder(encoder), f"{made}, full vectors"
    return stored_encoder(encoder, uses), f"{made}, vectors as an index stores them"


def _encoder_options(options: dict[str, Any]) -> EncoderOptions:
    from embedder.encoders import EncoderOptions
    from embedder.specs import Engine, Precision

    engine, precision = options["engine"], options["precision"]
    return EncoderOptions(
        model=options["model"],
        engine=None if engine == "auto" else Engine(engine),
        precision=None if precision == "auto" else Precision(precision),
        threads=options["threads"],
    )


def _write_words(words: Mapping[str, Scores], name: str, options: dict[str, Any]) -> None:
    from jobs.sense_reports import Report, mean_scores

    _write(Report(words=words, summary=mean_scores(words), representation=name), options)


def _write(report: Report, options: dict[str, Any]) -> None:
    from jobs.sense_reports import ReportFormat, write_report

    write_report(report, ReportFormat(options["format"]), sys.stdout)
