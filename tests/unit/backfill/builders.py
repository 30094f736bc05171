"""Builders of lines, and what they make of a row."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

from daybook.backfill.lines import Line, Reject
from daybook.backfill.loading import check_mapping
from daybook.backfill.mapped_lines import LineBuilder
from daybook.backfill.rows import Row
from daybook.requests import TransactionRequest

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def builder_of(text: str) -> LineBuilder:
    return LineBuilder(check_mapping(tomllib.loads(text)), now=lambda: NOW)


def built(builder: LineBuilder, columns: dict[str, Any]) -> TransactionRequest:
    line = builder.build(Row(2, columns))
    assert isinstance(line, Line), line
    assert isinstance(line.request, TransactionRequest)
    return line.request


def refused(builder: LineBuilder, columns: dict[str, Any]) -> Reject:
    line = builder.build(Row(2, columns))
    assert isinstance(line, Reject)
    return line
