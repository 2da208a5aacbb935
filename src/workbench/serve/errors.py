"""What is wrong with a statement, by PostgreSQL's codes."""

from __future__ import annotations

from workbench.errors import WorkbenchError
from workbench.local_sql import duckdb

_CODES: list[tuple[type[Exception], str]] = [
    (duckdb.ParserException, "42601"),
    (duckdb.InterruptException, "57014"),
    (duckdb.OutOfMemoryException, "53200"),
    (duckdb.PermissionException, "42501"),
    (duckdb.ConversionException, "22P02"),
    (duckdb.BinderException, "42703"),
    (duckdb.CatalogException, "42P01"),
]


class QueryError(WorkbenchError):
    """A statement cannot be answered; `code` is its SQLSTATE.

    Source: PostgreSQL 15, Appendix A, PostgreSQL Error Codes.
    """

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def code_of(error: BaseException) -> str:
    """Return the SQLSTATE of an error of DuckDB or of ours."""
    if isinstance(error, QueryError):
        return error.code
    causes = (error, error.__cause__)
    for kind, code in _CODES:
        if any(isinstance(cause, kind) for cause in causes):
            return code
    return "58030" if isinstance(error, WorkbenchError) else "XX000"
