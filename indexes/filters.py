"""What a filter may be: one SQL expression that depends on a document's columns and the time."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import duckdb

from embedder.errors import FilterError

MAX_CHARACTERS = 500_000
MEMORY_BYTES = 2 << 30
"""What the process that evaluates filters may allocate, DuckDB's own limit included."""

EXAMPLE = "For example: --where \"year >= 2020 AND lang = 'en'\""

TIME_FUNCTIONS = {
    "current_date",
    "get_current_time",
    "get_current_timestamp",
    "now",
    "today",
    "transaction_timestamp",
}
"""Of the functions that differ from query to query, those that do by the time alone."""

PLANNERS = {"json_serialize_plan"}
"""Functions that look up what a query in their argument names; DuckDB calls them pure."""

BARE_FUNCTIONS = {"current_catalog", "current_schema"}
"""Functions about the connection that SQL reads without parentheses where no column has the
name; all others of this kind are constants or times."""

OWN_PREFIX = "__"
"""How the functions start that DuckDB's optimizer inserts, for arguments that it has checked."""

_CLAUSES = ("where_clause", "modifiers", "group_expressions", "having", "sample", "qualify")
_IN_EXPRESSIONS = ("scalar", "macro", "aggregate", "window")
_AFTER_CAUSE = re.compile(r"\n\n|\nLINE|\s+Candidate functions|\s+Use \"?SET\b")
_QUERY = re.compile(r"\bSELECT\b", re.IGNORECASE)


def check_filter(
    connection: duckdb.DuckDBPyConnection, where: str, columns: Collection[str]
) -> None:
    """Raise FilterError unless `where` is an expression that a filter may be.

    Args:
        connection: what will evaluate it.
        where: the expression.
        columns: the columns that it sees.

    Raises:
        FilterError: it is not one expression, holds a query, or uses what depends on more than
            a document's columns and the time.
        MemoryError: it is too large.
    """
    _check_text(where)
    # By itself, so that it does not close a parenthesis that it has not opened; its statement may
    # be anything yet.
    _syntax(connection, f"SELECT\n{where}\n")
    # The newlines keep a comment in the expression from hiding the closing parenthesis.
    tree = _syntax(connection, f"SELECT (\n{where}\n)")
    nodes = list(_nodes(tree)) if _is_expression(tree) else []
    if not nodes or _has(nodes, "SUBQUERY"):
        raise FilterError(
            "A filter is one SQL expression over the documents' columns, without a query "
            f"inside; found {shown(where)}.",
            EXAMPLE,
        )
    _check_constructs(nodes)
    taken = {name.casefold() for name in columns}
    _check_functions(connection, _functions(nodes) | (_names(nodes) & BARE_FUNCTIONS - taken))


def shown(where: str) -> str:
    """An expression on one line of bounded length."""
    return repr(where) if len(where) <= 200 else f"{where[:200]!r}..."


def cause(message: str) -> str:
    """DuckDB's message on one line, a sentence, without what it draws below it and what cannot
    be set."""
    text = " ".join(_AFTER_CAUSE.split(message)[0].split())[:500]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _check_text(where: str) -> None:
    if not where.strip():
        raise FilterError("The filter is empty.", EXAMPLE)
    if len(where) > MAX_CHARACTERS:
        raise FilterError(
            f"The filter has {len(where):,} characters, and at most {MAX_CHARACTERS:,} are read.",
            "Make the values a column of the corpus, or search several times.",
        )
    try:
        where.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates, which stand for bytes that were no UTF-8
        raise FilterError(f"The filter {shown(where)} is not text in UTF-8.", EXAMPLE) from None
    if "\0" in where:
        raise FilterError(f"The filter {shown(where)} holds a NUL character.", EXAMPLE)


def _syntax(connection: duckdb.DuckDBPyConnection, statement: str) -> dict[str, Any]:
    """DuckDB's syntax tree, without statements if they are other than SELECT.

    Not by `extract_statements`, which keeps Python's lock while it parses.
    """
    found = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchone()
    try:
        tree: dict[str, Any] = json.loads(found[0]) if found else {}
    except RecursionError:
        raise FilterError("The filter is nested too deeply.", "Use fewer parentheses.") from None
    match tree.get("error_type", "not implemented"):  # that is: another statement
        case "not implemented":
            return tree
        case "out of memory":
            raise MemoryError
    raise FilterError(f"The filter cannot be parsed: {cause(tree['error_message'])}", EXAMPLE)


def _is_expression(tree: dict[str, Any]) -> bool:
    """Whether the tree of `SELECT (...)` holds one expression and nothing more."""
    statements = tree.get("statements") or [{}]
    node = statements[0].get("node", {})
    return (
        len(statements) == 1
        and node.get("type") == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not any(node.get(part) for part in _CLAUSES)
    )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects of a syntax tree, without recursion, for it may be deep."""
    left = [tree]
    while left:
        found = left.pop()
        if isinstance(found, dict):
            yield found
            left += found.values()
        elif isinstance(found, list):
            left += found


def _has(nodes: Iterable[dict[str, Any]], kind: str) -> bool:
    return any(node.get("class") == kind for node in nodes)


def _functions(nodes: Iterable[dict[str, Any]]) -> set[str]:
    """Names of the functions that are called, operators left out, which are all pure."""
    called = (n["function_name"].lower() for n in nodes if n.get("class") in ("FUNCTION", "WINDOW"))
    return {name for name in called if name.isidentifier()}


def _names(nodes: Iterable[dict[str, Any]]) -> set[str]:
    """Names that stand alone."""
    found = (n["column_names"] for n in nodes if n.get("class") == "COLUMN_REF")
    return {names[0].lower() for names in found if len(names) == 1}


def _check_constructs(nodes: Collection[dict[str, Any]]) -> None:
    """Refuse what is part of SQL's expressions and makes no sense in a filter."""
    for kind, what in {
        "PARAMETER": "a parameter (? or $1), and there is nothing that would give it a value",
        "STAR": "* or COLUMNS, which stand for several columns",
        "POSITIONAL_REFERENCE": "the position of a column (#1)",
        "WINDOW": "a window function, and a filter sees one document at a time",
        "DEFAULT": "DEFAULT, and a column here has none",
    }.items():
        if _has(nodes, kind):
            raise FilterError(f"The filter uses {what}.", f"Name columns and values. {EXAMPLE}")


def _check_functions(connection: duckdb.DuckDBPyConnection, called: Set[str]) -> None:
    """Refuse functions that read settings, change state, wait, or depend on chance.

    DuckDB says of each of its functions what it depends on. Its macros are looked into.
    """
    seen: set[str] = set()
    left = {name: name for name in sorted(called)}  # with the name that the filter calls
    while left:
        found = _described(connection, left)
        for function in found:
            if fault := function.fault:
                raise FilterError(
                    f"The filter uses {left[function.name]}(), which {fault}.", EXAMPLE
                )
        seen |= left.keys()
        left = {
            name: left[macro.name]
            for macro in found
            for name in _called_by(connection, macro.body)
            if name not in seen
        }


@dataclass(frozen=True)
class _Function:
    """A function as DuckDB describes it; `body` is a macro's expression, else empty."""

    name: str
    kind: str
    stability: str | None
    has_side_effects: bool | None
    body: str

    @property
    def fault(self) -> str:
        """Why a filter may not call it; empty if it may."""
        if self.kind in ("aggregate", "window"):
            return "looks at several documents, and a filter sees one at a time"
        if self.kind not in _IN_EXPRESSIONS:
            return "makes a table, and a filter computes one value"
        is_timed = self.name in TIME_FUNCTIONS
        if (
            self.has_side_effects
            or self.stability == "VOLATILE"
            or (self.stability == "CONSISTENT_WITHIN_QUERY" and not is_timed)
            or self.name in PLANNERS
            or self.name.startswith(OWN_PREFIX)
            or _QUERY.search(self.body)
        ):
            return "reads settings, changes something, waits or depends on chance"
        return ""


def _described(connection: duckdb.DuckDBPyConnection, names: Collection[str]) -> list[_Function]:
    """All functions of these names that an expression can mean."""
    rows = connection.execute(
        "SELECT DISTINCT lower(function_name), function_type, stability, has_side_effects, "
        "coalesce(macro_definition, '') FROM duckdb_functions() "
        "WHERE list_contains(?, lower(function_name))",
        [list(names)],
    ).fetchall()
    found = [_Function(*row) for row in rows]
    usual = {f.name for f in found if f.kind in _IN_EXPRESSIONS}
    return [f for f in found if f.kind in _IN_EXPRESSIONS or f.name not in usual]


def _called_by(connection: duckdb.DuckDBPyConnection, body: str) -> set[str]:
    """Names of the functions that a macro calls."""
    return _functions(_nodes(_syntax(connection, f"SELECT ({body})"))) if body else set()
