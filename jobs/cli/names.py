"""Names of columns as people type them."""

from __future__ import annotations

import csv
from typing import Any

import click


class ColumnNames(click.ParamType[tuple[str, ...]]):
    """Names separated by commas, as a line of CSV: `title,"a, b"`."""

    name = "columns"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names, without the spaces around them and without empty ones."""
        if isinstance(value, tuple):
            return value
        try:
            found = list(csv.reader([str(value)], skipinitialspace=True, strict=True))
        except csv.Error as error:
            self.fail(
                f"{value!r} is no list of columns ({error}); "
                'a name with a comma or quotes is written like this: title,"a, b"',
                param,
                ctx,
            )
        return tuple(name.strip() for row in found for name in row if name.strip())


COLUMN_NAMES = ColumnNames()
