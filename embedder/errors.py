"""The errors of all three packages: what was found, what was wanted, what to do next.

The library raises these; only the command line turns them into one line on stderr.
"""

from __future__ import annotations


class EmbedderError(Exception):
    """Base of every error that this project raises on purpose.

    Args:
        message: what was found and what was wanted, in one sentence or two.
        hint: what to type or do next; shown after the message.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class RequestError(EmbedderError):
    """What was asked for contradicts itself or what is there (exit code 2)."""

    exit_code = 2


class SourceError(EmbedderError):
    """A source of text cannot be found or read."""


class ColumnError(RequestError):
    """A column is missing, ambiguous or of a type that holds no text."""


class LabelError(EmbedderError):
    """A row of labelled data has no label, or points outside its text."""


class DocumentTooLongError(EmbedderError):
    """A document exceeds the encoder's window and the user asked for an error."""


class ModelError(EmbedderError):
    """A model folder is missing, incomplete, damaged or of a kind that is not supported."""


class EngineError(EmbedderError):
    """An engine is not installed, cannot run the model, or disagrees with the reference."""


class IndexNotFoundError(RequestError):
    """No index where one was looked for, or several and none named."""


class IndexFormatError(EmbedderError):
    """A file of an index is missing, damaged, or of a format that this version cannot read."""


class IndexMismatchError(RequestError):
    """An index was built with another encoder or other settings than those asked for."""


class IndexLockedError(EmbedderError):
    """Another process is writing to the index."""


class OutputError(EmbedderError):
    """Output cannot be written where it was asked for."""


class FilterError(RequestError):
    """A filter expression cannot be parsed, bound or evaluated, or is not allowed."""


class WordError(RequestError):
    """A word or a sense that the index does not have, or a context that does not say which."""


def cause_of(error: object) -> str:
    """The first line of what an error of another library says, without its full stop; what kind
    of error it is where it says nothing."""
    line = next(iter(str(error).strip().splitlines()), "").strip().rstrip(".")
    return line or type(error).__name__
