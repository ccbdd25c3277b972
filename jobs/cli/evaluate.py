"""`embedder evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.encoders import MODEL, encoder_options, model_options
from jobs.cli.sections import SectionedGroup
from jobs.cli.streams import FORMATS, choose_output, writing_stdout
from jobs.cli.use_columns import use_column_options

if TYPE_CHECKING:
    from embedder.labelled import LabelColumns
    from jobs.sense_reports import Report, Scores
    from jobs.use_vectors import UseEncoder

SHOTS = (1, 3, 10)


@click.group("evaluate", cls=SectionedGroup)
def evaluate_group() -> None:
    """Measure a model on labelled data of your own."""


@click.group("senses", short_help="Senses of words in labelled uses of them.")
def evaluate_senses_group() -> None:
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


_format_option = click.option(
    "--format", type=click.Choice(["text", "json", "csv"]), default="text"
)


def _model_options(command: Callable[..., None]) -> Callable[..., None]:
    with_format: Callable[..., None] = _format_option(command)
    return model_options(with_format)


_full_option = click.option(
    "--full", is_flag=True, help="Vectors as the encoder gives them, not as an index stores them."
)


@evaluate_senses_group.command(
    "centroid", short_help="The nearest mean of the training uses of a label."
)
@click.argument("train", metavar="TRAIN.parquet")
@click.argument("test", nargs=-1, required=True, metavar="TEST.parquet...")
@click.option(
    "--whiten",
    is_flag=True,
    help="Even out how uses of one label differ, as the training uses of all words show it.",
)
@use_column_options("sense, class_id or label")
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


@evaluate_senses_group.command(
    "few-shot", short_help="The nearest mean, with few training uses a label."
)
@click.argument("train", metavar="TRAIN.parquet")
@click.argument("test", nargs=-1, required=True, metavar="TEST.parquet...")
@click.option(
    "--shots",
    type=click.IntRange(1),
    multiple=True,
    default=SHOTS,
    help="Training uses a label; may be given several times.",
)
@use_column_options("sense, class_id or label")
@_full_option
@_model_options
def few_shot_command(
    train: str, test: tuple[str, ...], shots: tuple[int, ...], **options: Any
) -> None:
    """Give each test use the label whose mean is nearest, of few training uses drawn several
    times."""
    from embedder.labelled import read_uses
    from jobs.evaluate_senses import evaluate_few_shots

    known, asked = read_uses([train], _columns(options)), read_uses(test, _columns(options))
    encode, name = _encoder(options, [use.use for use in known])
    _write_words(evaluate_few_shots(known, asked, encode, shots), name, options)


@evaluate_senses_group.command(
    "static", short_help="The nearest mean, with one vector a word: the baseline."
)
@click.argument("train", metavar="TRAIN.parquet")
@click.argument("test", nargs=-1, required=True, metavar="TEST.parquet...")
@click.option(
    "--static", metavar="FOLDER", help="Vectors of embedder words train, in place of the model's."
)
@use_column_options("sense, class_id or label")
@click.option("--model", help=f"{MODEL}  [default: default]")
@_format_option
def static_command(train: str, test: tuple[str, ...], **options: Any) -> None:
    """Give each test use the label whose training uses' mean is nearest, with one vector a word.

    The vectors are the model's own input vectors, or those of words that --static names.
    """
    from embedder.labelled import read_uses
    from jobs.evaluate_senses import evaluate_centroids

    encode, name = _static_encoder(options)
    known, asked = read_uses([train], _columns(options)), read_uses(test, _columns(options))
    _write_words(evaluate_centroids(known, asked, encode), name, options)


def _static_encoder(options: dict[str, Any]) -> tuple[UseEncoder, str]:
    """What makes vectors of uses without looking at them, and what they are."""
    if options["static"] is None:
        from embedder.checkpoint import open_checkpoint
        from embedder.model_location import DEFAULT_MODEL
        from embedder.static_vectors import StaticVectors

        checkpoint = open_checkpoint(options["model"] or DEFAULT_MODEL)
        return StaticVectors(checkpoint).encode_uses, "input vectors of word pieces"
    from embedder.errors import RequestError
    from jobs.word_folder import open_words

    if options["model"]:
        raise RequestError("--static and --model both name vectors.", "Leave one of them out.")
    words = open_words(options["static"])
    return words.vectors.encode_uses, f"{words.title}, and the mean of those around"


@evaluate_senses_group.command("induction", short_help="Groups without labels, against the labels.")
@click.argument("data", nargs=-1, required=True, metavar="DATA.parquet...")
@click.option("--least-uses", type=click.IntRange(1), default=20, help="Of a word.")
@click.option("--least-senses", type=click.IntRange(1), default=2, help="Labels of a word.")
@use_column_options("sense, class_id or label")
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


@evaluate_senses_group.command(
    "pairs", short_help="One sense or not, by a threshold fitted on TRAIN."
)
@click.argument("train", metavar="TRAIN.parquet")
@click.argument("dev", metavar="DEV.parquet")
@use_column_options("label or same")
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


@evaluate_senses_group.command(
    "similarity", short_help="Cosines of uses against scores that people gave."
)
@click.argument("data", metavar="DATA.parquet")
@use_column_options("score, similarity, mean_relatedness or mean_rating")
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


@click.command("words", short_help="Pairs of words with scores, and analogies.")
@click.argument("folder", metavar="FOLDER")
@click.argument("data", nargs=-1, required=True, metavar="DATA.parquet...")
@click.option(
    "--most-words",
    type=click.IntRange(1),
    help="Ask for and answer with the so many most frequent words alone.  [default: all]",
)
@click.option("--out", metavar="FILE", help="Write the result here.")
@click.option("--format", type=FORMATS, help="[default: by the ending of --out, else text]")
def evaluate_words_command(folder: str, data: tuple[str, ...], **options: Any) -> None:
    """Measure the static vectors in FOLDER by pairs of words and by analogies.

    \b
    Parquet, whose columns tell what it holds:
      word1, word2, score  how alike people find two words: Spearman's correlation with the
                           cosines, for each data set if there is a column dataset
      a, b, c, d           a is to b as c is to d: how often d is nearest to b - a + c (3CosAdd),
                           for each section if there is a column section, and for all of a file
    Questions with a word that has no vector are counted and left out.
    """
    from jobs.tables import write_table
    from jobs.word_folder import open_words
    from jobs.word_scores import WORD_SCORE_COLUMNS, evaluate_words, write_word_scores

    form = choose_output(options, folder, *data)
    words = open_words(folder)
    scores = evaluate_words(words.vectors, data, most_words=options["most_words"])
    with writing_stdout():
        write_table(
            [score.to_json() for score in scores],
            WORD_SCORE_COLUMNS,
            form,
            options["out"],
            sys.stdout,
            lambda stream: write_word_scores(scores, words.title, stream),
        )


def _columns(options: dict[str, Any]) -> LabelColumns:
    from dataclasses import fields

    from embedder.labelled import LabelColumns

    names = {field.name for field in fields(LabelColumns)}
    return LabelColumns(**{n: v for n, v in options.items() if n in names and v is not None})


def _encoder(options: dict[str, Any], uses: list[Any]) -> tuple[UseEncoder, str]:
    """What makes vectors, and what they are; few components are fitted to the texts of `uses`."""
    from embedder.encoders import open_encoder
    from jobs.use_vectors import full_encoder, stored_encoder

    encoder = open_encoder(encoder_options(options))
    made = f"{encoder.encoder.spec.model}, {encoder.encoder.description}"
    if options["full"]:
        return full_encoder(encoder), f"{made}, full vectors"
    return stored_encoder(encoder, uses), f"{made}, vectors as an index stores them"


def _write_words(words: Mapping[str, Scores], name: str, options: dict[str, Any]) -> None:
    from jobs.sense_reports import Report, mean_scores

    _write(Report(words=words, summary=mean_scores(words), representation=name), options)


def _write(report: Report, options: dict[str, Any]) -> None:
    from jobs.sense_reports import ReportFormat, write_report

    with writing_stdout():
        write_report(report, ReportFormat(options["format"]), sys.stdout)
