"""The command line in the tests' own process, which spares starting one."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora import Done

from jobs.cli import main


class Here:
    """Runs commands, and keeps what they wrote.

    Args:
        capture: catches what is written.
    """

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str | Path | int) -> Done:
        """Run one command to its end."""
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        written = self._capture.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Done([], code, written.out, written.err)
