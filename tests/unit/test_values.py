"""SQL and Lua take values as parameters only: their text is made of constants of the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "daybook"
SQL = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|COPY|SET LOCAL|LOCK|CREATE|DROP|ALTER|GRANT"
    r"|TRUNCATE)\b"
)
LUA = re.compile(r"redis\.p?call")
SCRIPTS = frozenset({"register_script", "eval", "script_load"})

QUOTED = "names of roles, databases and columns, quoted by psycopg"
TABLES = "names of tables and columns of the schema"
ARMS = "parts of queries of this module, at import"
ALLOWED = {
    "backfill/ordering.py:reordered": "words of this module; the database is a file of its own",
    "backfill/ordering.py:_find_parted": "words of this module, too",
    "embedded/postgres.py:create_database": QUOTED,
    "embedded/postgres.py:_create_roles": QUOTED,
    "store/batch/subjects.py:write_subjects": QUOTED,
    "store/proof/comparing.py:_differs": TABLES,
    "store/proof/comparing.py:differing": TABLES,
    "store/proof/comparing.py:texts_of": TABLES,
    "store/proof/comparing.py:check": TABLES,
    "store/transfer/exporting.py:_count": TABLES,
    "store/transfer/exporting.py:_rows": TABLES,
    "store/transfer/importing.py:_lock": f"{TABLES}; a number of seconds of this module",
    "store/transfer/importing.py:_require_empty": TABLES,
    "store/transfer/importing.py:_clear": TABLES,
    "store/transfer/intake.py:statement": TABLES,
    "store/proof/rebuild.py:_lock": f"{TABLES}; a whole number of milliseconds",
    "store/proof/rebuild.py:_mend": TABLES,
    "store/proof/rebuild.py:_statements": TABLES,
    "store/proof/verify.py:_count": TABLES,
    "store/proof/facts.py:_told": ARMS,
    "store/read/history.py:arm": ARMS,
    "store/read/history.py:_sum_of": ARMS,
    "store/scan.py:be_patient": "settings of this module",
    "store/sessions.py:pin": "names and values of settings, quoted by psycopg",
    "store/proof/marks.py:_is_at_home": TABLES,
    "store/proof/rebuild.py:_removal": TABLES,
    "monitoring/health/postgres_safety.py:judge_durability": "spellings of off, of this module",
    "monitoring/health/postgres_safety.py:_replica": "spellings of a setting, of this module",
}
"""Functions that put SQL together while the program runs, and of what."""


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the package, parsed."""
    return {
        path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def literals(node: ast.AST) -> str:
    """The text that stands literally below a node."""
    found = [item.value for item in ast.walk(node) if isinstance(item, ast.Constant)]
    return " ".join(text for text in found if isinstance(text, str))


def is_built(node: ast.AST) -> bool:
    """Whether the node puts text together: an f-string, ``+``, ``%`` or ``format``."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod)
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", "") == "format"
    return isinstance(node, ast.JoinedStr)


def is_constants_format(node: ast.AST) -> bool:
    """``_NAME.format(…)``, ``SQL(…).format(…)``: what is in the constant is not seen from here."""
    if not (isinstance(node, ast.Call) and is_built(node)):
        return False
    base = getattr(node.func, "value", None)
    name = getattr(base, "id", "") or getattr(getattr(base, "func", None), "attr", "")
    return bool(name.isupper())


def sql_built_in(tree: ast.AST) -> Iterator[str]:
    """Names of functions that build SQL."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes = [node for node in ast.walk(function) if is_built(node)]
            if any(SQL.search(literals(node)) or is_constants_format(node) for node in nodes):
                yield function.name


def names_in(script: ast.AST) -> list[str]:
    """The names of a script: of one constant, or of a sum of them. Anything else has none."""
    if isinstance(script, ast.BinOp) and isinstance(script.op, ast.Add):
        return names_in(script.left) + names_in(script.right)
    return [getattr(script, "id", "")]


def test_sql_is_made_of_constants() -> None:
    """Functions that build SQL are those of the list, and every one has its reason there."""
    found = {
        f"{name}:{function}" for name, tree in trees().items() for function in sql_built_in(tree)
    }
    assert found == set(ALLOWED)


def test_lua_is_never_put_together() -> None:
    """No script is formatted, and each is registered as a constant, or a sum of them."""
    for name, tree in trees().items():
        for node in ast.walk(tree):
            assert not (is_built(node) and LUA.search(literals(node))), name
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SCRIPTS:
                script = node.args[0]
                assert all(part.isupper() for part in names_in(script)), name


@pytest.mark.parametrize(
    "program",
    [
        "def f(x): run(f'SELECT {x}')",
        "def f(x): run('DELETE FROM ' + x)",
        "def f(x): run('UPDATE t SET a = %s' % x)",
        "def f(x): run('SELECT {}'.format(x))",
        "def f(x): run(_QUERY.format(x))",
    ],
)
def test_a_value_in_the_text_is_found(program: str) -> None:
    """Each way to put a value into SQL is seen."""
    assert list(sql_built_in(ast.parse(program))) == ["f"]
