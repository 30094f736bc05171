"""Starting parts again that end by themselves, for as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from daybook.embedded.servers import Servers
from daybook.errors import DaybookError
from daybook.instance import FailingPart, how_it_ended

LOOK_SECONDS = 0.2
BOUND_LOGS_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A part that lived this long has not failed in a row."""

DEATHS_TOLD = 3
"""From so many deaths in a row on, `status` and `health` say so: one is nothing to wake up for."""

PAUSE_SECONDS = 0.5
PAUSE_SECONDS_MAX = 60.0
"""Longest pause before a part is started again."""


@dataclass(slots=True)
class _Watch:
    """What is known of a part. due: when it is to be started again; None while it runs."""

    started: float
    deaths: int = 0
    code: int | None = None
    pause: float = 0.0
    due: float | None = None


class Tending:
    """Starts parts again that end by themselves, with growing pauses.

    It never gives up: a worker that can't start (a schema that is being changed, a full disk, a
    broker that refuses) must not take the servers along, on which others may work.
    """

    def __init__(
        self,
        servers: Servers,
        say: Callable[[str], None],
        *,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
        steady_seconds: float = STEADY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = servers
        self._say = say
        self._pause_seconds_max = pause_seconds_max
        self._steady_seconds = steady_seconds
        self._clock = clock
        self._watches = {name: _Watch(clock()) for name in servers.children}
        self._told: list[FailingPart] = []
        self._logs_due = 0.0

    def forever(self) -> None:
        """Look after the parts until a signal."""
        while True:
            self.look()
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look once at each part, at the guard and at the size of the logs."""
        now = self._clock()
        for name, (_, child) in tuple(self._servers.children.items()):
            watch = self._watches[name]
            if watch.due is not None:
                if now >= watch.due:
                    self._start_again(name, watch)
            elif child.poll() is not None:
                self._note_death(name, watch, child.returncode)
            elif watch.deaths and now - watch.started > self._steady_seconds:
                watch.deaths = 0
        self._tell()
        try:
            self._keep_house(now)
        except OSError as fault:  # a full disk, no more processes: it may pass
            self._say(f"the data folder can't be looked after: {fault}")

    def _keep_house(self, now: float) -> None:
        if now >= self._logs_due:
            self._logs_due = now + BOUND_LOGS_SECONDS
            self._servers.folder.bound_logs()
        if self._servers.watch_guard():
            self._say("the guard was gone and has been replaced")

    def _note_death(self, name: str, watch: _Watch, code: int) -> None:
        if self._clock() - watch.started > self._steady_seconds:
            watch.deaths = 0
        watch.code = code
        self._wait(watch)
        self._say(f"{name} {how_it_ended(code)}: starting it again in {watch.pause:g} s")

    def _start_again(self, name: str, watch: _Watch) -> None:
        try:
            self._servers.restart(name)
        except (OSError, DaybookError) as fault:
            self._wait(watch)
            self._say(f"{name} can't be started: {fault}; trying again in {watch.pause:g} s")
            return
        watch.due, watch.started = None, self._clock()
        self._say(f"{name} runs again")

    def _wait(self, watch: _Watch) -> None:
        """Until the next attempt, twice as long as before the last one, within the bound."""
        longer = min(2 * watch.pause, self._pause_seconds_max)
        watch.pause = longer if watch.deaths else PAUSE_SECONDS
        watch.deaths += 1
        watch.due = self._clock() + watch.pause

    def _tell(self) -> None:
        """Let `status` and `health` know of the parts that do not stay up."""
        folder = self._servers.folder
        failing = [
            FailingPart(name, watch.deaths, watch.code, watch.pause, str(folder.log_file(name)))
            for name, watch in self._watches.items()
            if watch.deaths >= DEATHS_TOLD
        ]
        if failing == self._told:
            return
        for name in {part.part for part in self._told} - {part.part for part in failing}:
            self._say(f"{name} stays up again")
        try:
            folder.publish_failing(failing)
        except OSError as fault:
            self._say(f"it can't be told which parts fail: {fault}")
            return  # it is tried again at the next look
        self._told = failing
