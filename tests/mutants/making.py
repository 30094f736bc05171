"""Mutants of a module: mutmut's operators and two of our own, each at every place that counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate, chain, takewhile
from pathlib import Path
from typing import Any

import libcst as cst
from libcst import matchers as m
from libcst.metadata import (
    CodePosition,
    MetadataWrapper,
    PositionProvider,
    WhitespaceInclusivePositionProvider,
)
from mutmut.mutation import mutators

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/daybook"

Operator = Callable[[Any], Iterable[cst.CSTNode]]


def negated(node: cst.CSTNode) -> Iterable[cst.CSTNode]:
    """A condition that is no comparison, the other way round."""
    test = node.test  # type: ignore[attr-defined]
    if not m.matches(test, m.Comparison() | m.BooleanOperation() | m.UnaryOperation()):
        parentheses = {"lpar": [cst.LeftParen()], "rpar": [cst.RightParen()]}
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test, **parentheses))


def left_out(node: cst.Expr) -> Iterable[cst.CSTNode]:
    """A call for its effect, left out, unless the call is one of what is left as it is."""
    if m.matches(node.value, m.Call()) and not _stays(node.value):
        yield cst.Pass()


def lost(node: cst.Assign | cst.AnnAssign) -> Iterable[cst.CSTNode]:
    """An assigned value, lost, unless it is a constant: that has a mutant of its own."""
    if node.value is None:
        return
    is_constant = isinstance(node.value, cst.BaseString | cst.BaseNumber) or m.matches(
        node.value, m.Name("True") | m.Name("False")
    )
    if not is_constant:
        yield from mutators.operator_assignment(node)


def another_text(node: cst.SimpleString) -> Iterable[cst.CSTNode]:
    """Another text, once: in upper case it would be no more than another, too."""
    yield from list(mutators.operator_string(node))[:1]


def another_argument(node: cst.Call) -> Iterable[cst.CSTNode]:
    """An argument that is None, or left out where it has a name: by place each is needed."""
    named = {number for number, argument in enumerate(node.args) if argument.keyword}
    for new in mutators.operator_arg_removal(node):
        missing = [number for number in named if node.args[number] not in new.args]
        if len(new.args) == len(node.args) or missing:
            yield new


OWN: dict[Operator, Operator] = {
    mutators.operator_assignment: lost,
    mutators.operator_string: another_text,
    mutators.operator_arg_removal: another_argument,
}
"""What is said instead of an operator of mutmut's."""

OPERATORS: Sequence[tuple[type, Operator]] = (
    *((kind, OWN.get(operator, operator)) for kind, operator in mutators.mutation_operators),
    (cst.If, negated),
    (cst.While, negated),
    (cst.CompIf, negated),
    (cst.Expr, left_out),
)

_CHECKS = m.Call(func=m.Name("len") | m.Name("isinstance") | m.Name("zip") | m.Name("issubclass"))
_LOGGED = m.Call(func=m.Attribute(value=m.Name("log") | m.Name("_log") | m.Name("logger")))
_ALIAS = m.AssignTarget(m.Name(m.MatchRegex(r"[A-Z]\w*[a-z]\w*")))
_BOUND = m.AssignTarget(m.Name(m.MatchRegex(r"_?[A-Z][A-Z0-9_]*_(BATCHES|BYTES|MAX|MIN|SECONDS)$")))
_NOT_MUTATED: dict[str, m.BaseMatcherNode | Any] = {
    "types say nothing while the program runs": (
        m.Annotation() | m.Assign(targets=[_ALIAS]) | m.If(test=m.Name("TYPE_CHECKING"))
    ),
    "texts for people are read by people": m.Raise() | _LOGGED,
    "an assertion states what holds anyway": m.Assert() | m.Arg(keyword=m.Name("strict")),
    "a decorator, an import and slots show on loading": (
        m.Decorator()
        | m.Import()
        | m.ImportFrom()
        | m.Assign(targets=[m.AssignTarget(m.Name("__slots__"))])
    ),
    "a cast says nothing while the program runs": m.Call(func=m.Name("cast")),
    "what is read of a database is tried with one, in tests/integration": m.With(
        items=[m.WithItem(item=m.Call(func=m.Name("reading")))]
    ),
    "a bound that is one more or less is a bound, too": m.Assign(targets=[_BOUND]),
    "what goes back to its pool is rolled back there": m.Call(
        func=m.Attribute(attr=m.Name("rollback"))
    ),
    "without its extra a package is tried in tests/unit/test_dependencies.py": m.Call(
        func=m.Name("require")
    ),
    "a point of the pipeline does nothing but let tests strike": m.Call(func=m.Name("reach")),
}
"""What is left as it is, by the reason."""


def _stays(node: cst.CSTNode) -> bool:
    return any(m.matches(node, kind) for kind in _NOT_MUTATED.values())


def is_prose(node: cst.CSTNode) -> bool:
    """Whether it is a text of several words: for people, like what is raised."""
    if isinstance(node, cst.FormattedString):
        texts = [part.value for part in node.parts if isinstance(part, cst.FormattedStringText)]
        return any(re.search(r"[a-z,;] | [a-z]", text) for text in texts)
    return isinstance(node, cst.SimpleString) and " " in node.value


@dataclass(frozen=True)
class Mutant:
    """One change of a module. where: the function or class. lines: of its statement.

    on_load: it shows only where the module is loaded anew: it is in no function.
    """

    path: Path
    lines: range
    where: str
    change: str
    source: str
    on_load: bool

    @property
    def file(self) -> str:
        """The file, as people name it."""
        return str(self.path.relative_to(PACKAGE))

    @property
    def module(self) -> str:
        """The module's name."""
        return ".".join(["daybook", *self.path.relative_to(PACKAGE).with_suffix("").parts])


@dataclass(frozen=True)
class Candidate:
    """A place in a module, and what may stand there instead. code: of the module as it is."""

    path: Path
    code: str
    place: slice
    instead: str
    lines: range
    where: str
    on_load: bool

    def made(self) -> Mutant | None:
        """The mutant, unless it is no Python or no change."""
        source = self.code[: self.place.start] + self.instead + self.code[self.place.stop :]
        if source == self.code or not _compiles(source):
            return None
        change = _change(self.code, source)
        return Mutant(self.path, self.lines, self.where, change, source, self.on_load)


def candidates_of(path: Path) -> list[Candidate]:
    """Every place of a module, with all that may stand there instead."""
    code = path.read_text(encoding="utf-8")
    wrapper = MetadataWrapper(cst.parse_module(code))
    finder = _Finder(path, code, wrapper.module)
    wrapper.visit(finder)
    return finder.found


class _Finder(cst.CSTVisitor):
    """Walks through a module and knows in which function it is."""

    METADATA_DEPENDENCIES = (PositionProvider, WhitespaceInclusivePositionProvider)

    def __init__(self, path: Path, code: str, tree: cst.Module) -> None:
        super().__init__()
        self.found: list[Candidate] = []
        self._path = path
        self._code = code
        self._line_starts = [0, *accumulate(map(len, code.splitlines(keepends=True)))]
        self._tree = tree
        self._names: list[str] = []
        self._bodies: set[cst.CSTNode] = set()
        self._deep = 0
        self._statements: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append(node.name.value)
        if isinstance(node, cst.FunctionDef | cst.Lambda):
            self._bodies.add(node.body)
        if isinstance(node, cst.BaseStatement):
            self._statements.append(node)
        self._deep += node in self._bodies
        if is_prose(node) or _stays(node):
            return False
        self.found += self._at(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._names.pop()
        if isinstance(original_node, cst.BaseStatement):
            self._statements.pop()
        self._deep -= original_node in self._bodies

    def _at(self, node: cst.CSTNode) -> Iterator[Candidate]:
        """What may stand at this place."""
        for kind, operator in OPERATORS:
            if not isinstance(node, kind) or (
                operator is another_argument and m.matches(node, _CHECKS)
            ):
                continue
            for new in operator(node):
                old: Any = node
                if operator is negated:  # the condition alone: a block has lines of its own
                    old, new = old.test, new.test  # type: ignore[attr-defined]
                yield Candidate(
                    self._path,
                    self._code,
                    self._place(old),
                    self._tree.code_for_node(new),
                    self._lines(node),
                    ".".join(self._names),
                    on_load=not self._deep,
                )

    def _place(self, node: cst.CSTNode) -> slice:
        """Where the code of a node stands in that of its module, with its parentheses."""
        span = self.get_metadata(WhitespaceInclusivePositionProvider, node)
        place = slice(self._offset(span.start), self._offset(span.end))
        alone = self._tree.code_for_node(node)  # its lines are not indented
        assert self._code[place].split() == alone.split()
        return place

    def _offset(self, position: CodePosition) -> int:
        return self._line_starts[position.line - 1] + position.column

    def _lines(self, node: cst.CSTNode) -> range:
        """The lines of the node's statement; where others are inside of that, of the node."""
        statement = self._statements[-1]
        begins = self.get_metadata(PositionProvider, statement).start.line
        within = statement if isinstance(statement, cst.SimpleStatementLine) else node
        place = self.get_metadata(PositionProvider, within, None)
        return range(begins, (place.end.line if place else begins) + 1)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _lines_of(code: str) -> list[str]:
    return [line.strip() for line in code.splitlines()]


def _apart(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    """Both without the lines that they begin and end with alike."""
    alike = _alike(one, other)
    one, other = one[alike:], other[alike:]
    alike = _alike(reversed(one), reversed(other))
    return one[: len(one) - alike], other[: len(other) - alike]


def _alike(one: Iterable[str], other: Iterable[str]) -> int:
    """How many lines are the same from the beginning on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _change(old: str, new: str) -> str:
    """The lines that differ, before and after."""
    before, after = _apart(_lines_of(old), _lines_of(new))
    changes = [
        (before[i:j], after[k:n])
        for tag, i, j, k, n in SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    return " → ".join(" ".join(filter(None, chain(*side))) for side in zip(*changes, strict=True))
