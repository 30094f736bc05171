"""Strange writes, drawn by seed: every one that the shipped file of users lets a producer make.

The rights are read from the file itself, so that a new one can't be forgotten. Left out is what
docs/how-to/security.md says that nothing can forbid: ``XADD`` that trims, and
writing without an end.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

import redis

from daybook.queue.scripts import APPEND_SCRIPT
from tests.guarded import START

USERS = START.with_name("users.acl")
BROKER = ("daybook.partition.*", "daybook.intake*", "_kombu.binding*.daybook.*")
"""Celery's keys: what messages may hold is tried where messages are read."""

READS = frozenset(["hmget", "hget", "hgetall", "get", "mget", "xlen", "llen", "smembers"])

Command = list[Any]


class Right(NamedTuple):
    """A command that a producer may give, and the pattern of the keys it may write with it."""

    command: str
    pattern: str


def rights() -> list[Right]:
    """What the file lets a producer write."""
    (line,) = [
        line
        for line in USERS.read_text(encoding="utf-8").splitlines()
        if line.startswith("user daybook_producer ")
    ]
    found = []
    for selector in re.findall(r"\(([^)]*)\)", line):
        words = selector.split()
        patterns = [re.sub(r"^(%R?W)?~", "", word) for word in words if re.match(r"(%R?W)?~", word)]
        found += [
            Right(word[1:], pattern)
            for word in words
            if word.startswith("+") and word[1:] not in READS
            for pattern in patterns
        ]
    return found


class Strikes:
    """Draws strange writes.

    partitions: as many as there are. known: fields of requests that were sent in the usual way, to
    lie about.
    """

    def __init__(self, random: Random, partitions: int) -> None:
        self._random = random
        self._partitions = partitions
        self.known: list[dict[str, Any]] = []
        self.kinds: dict[tuple[str, str], Callable[[], Command]] = {
            ("xadd", "{daybook}:log:*"): self._entry,
            ("xadd", "{daybook}:large:*"): self._mark,
            ("set", "{daybook}:clock"): self._clock,
            ("set", "{daybook}:bell:*"): self._bell,
            ("set", "{daybook}:queued:*"): self._queued,
            ("getdel", "{daybook}:answer:*"): lambda: ["GETDEL", "{daybook}:answer:x"],
            ("evalsha", "{daybook}:state"): self._script,
            ("evalsha", "{daybook}:clock"): self._script,
        }

    def draw(self, right: Right) -> Command:
        """A strange use of a right. Raises KeyError for one that nobody has thought of."""
        return self.kinds[right.command, right.pattern]()

    def _one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _id(self) -> str:
        ms = int(time.time() * 1_000)
        return str(
            self._one(
                "*", "*", "*", f"{ms}-*", f"{ms + 500}-0", f"{ms + 50_000}-7", f"{ms}-1048576",
                f"{ms}-99999999999999", f"{ms + 61_000}-0", f"{ms * 10}-0", "9999999999999-0",
                "8796093022208-0", "18446744073709551614-5", f"{ms + 3_600_000}-1048575",
                "1-1", "18446744073709551615-18446744073709551615",
            )
        )  # fmt: skip

    def _partition(self) -> Any:
        return self._one(*range(self._partitions), self._partitions, "x", "0:anew")

    def _junk(self) -> bytes:
        return bytes(
            self._one(
                b"", b"x", b"\xff\x00\xfe", b"null", b"[]", b"{}", b"9" * 5_000, b"[" * 5_000,
                b'{"v":1}', b'{"v":1,"kind":"bulk","transactions":[]}', b"\x00" * 100,
                b'{"reference":"\xf0\x9f"}', self._random.randbytes(300), b"x" * 200_000,
            )
        )  # fmt: skip

    def _body(self) -> bytes:
        """Junk, or a request that was sent, whole or with one field changed."""
        if not self.known or self._random.random() < 0.4:
            return self._junk()
        body = dict(self._random.choice(self.known))
        if self._random.random() < 0.7:
            name = self._random.choice(sorted(body))
            body[name] = self._one("x", -1, None, [], "txn_x", "9" * 40, "@World", "\x00")
        return json.dumps(body).encode()

    def _entry(self) -> Command:
        command: Command = ["XADD", f"{{daybook}}:log:{self._partition()}", self._id()]
        width = self._one(0, 1, 1, 1, 1, 4_100)
        if not width:
            return [*command, "x", self._junk()]
        if width > 1:
            return command + [word for number in range(width) for word in (f"f{number}", "v")]
        known = self._random.choice(self.known) if self.known else {}
        fields = {
            "i": self._one("", "x", "txn_x", known.get("transaction_id", "txn_"), self._junk()),
            "k": self._one("", "t:", f"t:{known.get('reference')}", "i:x", self._junk()[:999]),
            "c": self._one("", "", "c", "d", "r", "b", "dr", "cdrb", "\x00", self._junk()[:99]),
            "b": self._one(self._body(), self._body(), b"0", b"1", b"77", b"9" * 5_000),
        }
        names = [name for name in fields if self._random.random() < 0.9] or ["b"]
        if self._random.random() < 0.1:
            names *= 2
        return command + [word for name in names for word in (name, fields[name])]

    def _mark(self) -> Command:
        number = self._one(b"5", b"-5", b"9" * 30, b"1e9", self._junk())
        name = self._one("n", "n", "x")
        return ["XADD", f"{{daybook}}:large:{self._partition()}", self._id(), name, number]

    def _value(self, value: Any) -> list[Any]:
        return [value, *self._one([], [], ["PX", 1], ["EX", 9_999_999])]

    def _clock(self) -> Command:
        return ["SET", "{daybook}:clock", *self._value(self._one(self._id(), self._junk()))]

    def _bell(self) -> Command:
        return ["SET", f"{{daybook}}:bell:{self._partition()}", *self._value(self._junk())]

    def _queued(self) -> Command:
        known = self._random.choice(self.known) if self.known else {}
        key = self._one(f"t:{known.get('reference')}", f"t:next-{self._random.randrange(99)}", "x")
        said = self._one(
            f"Ptxn_x {self._partition()} {self._id()}", 'R{"id":"x","status":"APPLIED"}', "Q", "R"
        )
        fingerprint = self._one("0" * 64, "f" * 64, "x")
        value = self._one(self._junk(), f"{fingerprint}{said}")
        return ["SET", f"{{daybook}}:queued:{key}", *self._value(value)]

    def _script(self) -> Command:
        """The append script, with strange words."""
        words = [self._one("0", "-1", "1.5", "x", "4095", "1e9", "nan", ""), self._junk(),
                 self._one("", "0" * 64), self._junk(), self._one("", "d", "r"), self._body(),
                 self._one("", "0,1", "x", "1" * 400)]  # fmt: skip
        prefix = self._one("{daybook}:", "{daybook}:", "", "{daybook}")
        given = words[: self._one(7, 7, 7, 3)]
        keys = ["{daybook}:state", "{daybook}:clock"]
        return ["EVALSHA", SHA, 2, *keys, prefix, self._one(1_000, "x"), *given]


def sha_of_append() -> str:
    """The name under which workers have put the append script on the server."""
    script = redis.Redis().register_script(APPEND_SCRIPT)
    return str(script.sha)


SHA = sha_of_append()


def strike(client: redis.Redis, command: Sequence[Any]) -> None:
    """Give the command; the server may refuse it, but not for lack of rights."""
    refused = ""
    try:
        client.execute_command(*command)
    except redis.ResponseError as fault:
        refused = str(fault).lower()
    assert "no permissions" not in refused or command[0] == "EVALSHA", (command, refused)
    assert "noscript" not in refused
