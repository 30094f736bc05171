"""Errors of the command line name what was typed: an option or an argument, not a JSON field."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import typer
from typer.core import TyperCommand

from daybook.errors import FieldError, MalformedRequest

_CALLED = {
    "transaction_id": ("hold", "transaction"),
    "subject_id": ("subject", "identity", "ledger", "balance"),
    "ledger_id": ("ledger",),
    "balance_id": ("balance",),
    "identity_id": ("identity", "identity_id"),
    "made_by": ("by",),
}
"""Fields of requests that commands have under another name."""

_FIELD = re.compile(r"(\w+)(.*)", re.DOTALL)
_SNAKE = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


class Command(TyperCommand):
    """A command whose errors name its own options."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MalformedRequest as fault:
            raise _renamed(fault, ctx) from fault


class Program(typer.Typer):
    """An application, or a group, of such commands."""

    def command(self, name: str | None = None, **more: Any) -> Any:
        """A command of this class."""
        return super().command(name, cls=Command, **more)


def _renamed(fault: MalformedRequest, ctx: Any) -> MalformedRequest:
    options = {parameter.name: parameter for parameter in ctx.command.params}
    is_from_json = ctx.params.get("request") is not None or "file" in options

    def option(name: str) -> str | None:
        for known in (name, *_CALLED.get(name, ())):
            parameter = options.get(known)
            if parameter is None or (is_from_json and not _is_typed(ctx, known)):
                continue
            return shown_parameter(parameter)
        return None

    def error(one: FieldError) -> FieldError:
        head, rest = _FIELD.fullmatch(one.field).groups()  # type: ignore[union-attr]
        inner = rest.removeprefix(".") if head == "fields" else ""
        if inner and option(inner):
            head, rest = inner, ""
        message = _SNAKE.sub(lambda word: option(word[0]) or word[0], one.message)
        return replace(one, field=f"{option(head) or head}{rest}", message=message)

    return MalformedRequest([error(one) for one in fault.errors], fault.code)


def _is_typed(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def shown_parameter(parameter: Any) -> str:
    """As ``--help`` shows it."""
    long = [name for name in parameter.opts if name.startswith("--")]
    return str(long[0] if long else parameter.metavar or parameter.name.upper())
