"""Actors that take turns at named points, in the order of a seed, in a time of their own."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from greenlet import GreenletExit, greenlet

STEP_MS_MAX = 3
"""So much time passes at most from one turn to the next."""

STAY = 0.5
"""How often an actor goes on at a point where another could."""


class Crash(BaseException):
    """The death of the process of an actor. Not an Exception: nobody catches it by mistake."""


class Actor:
    """One process of the simulation.

    wakes_ms: when its turn comes at the latest. ready: its turn comes as soon as this is true.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.wakes_ms = 0
        self.ready: Callable[[], bool] | None = None
        self.turns: Any = greenlet(work)


class Scheduler:
    """Runs actors one at a time. now_ms: simulated time, milliseconds since the epoch."""

    def __init__(self, random: Random, now_ms: int) -> None:
        self.random = random
        self.now_ms = now_ms
        self.turns = 0
        self._actors: list[Actor] = []
        self._current: Actor | None = None
        self._hub: Any = greenlet.getcurrent()

    def spawn(self, name: str, work: Callable[[], None]) -> None:
        """Add an actor."""
        self._actors.append(Actor(name, work))

    @property
    def current(self) -> str:
        """The name of the actor whose turn it is."""
        return self._current.name if self._current else ""

    def pause(self, milliseconds: int = 0) -> None:
        """Let others take their turns, for at least so long."""
        actor = self._current
        if actor is None or (milliseconds == 0 and self.random.random() < STAY):
            return
        actor.wakes_ms = self.now_ms + milliseconds
        self._hub.switch()

    def wait_for(self, condition: Callable[[], bool], milliseconds: int) -> bool:
        """Wait until the condition holds, for so long at most; returns whether it does."""
        actor = self._current
        if condition():
            return True
        if actor is None:
            return False
        actor.wakes_ms, actor.ready = self.now_ms + milliseconds, condition
        self._hub.switch()
        actor.ready = None
        return condition()

    def run(self, over: Callable[[], bool], turns_max: int) -> bool:
        """Give turns until it is ``over``; returns whether it was within ``turns_max``."""
        for _ in range(turns_max):
            if over():
                return True
            self._turn()
        return over()

    def _turn(self) -> None:
        self.turns += 1
        self.now_ms += self.random.randrange(STEP_MS_MAX)
        awake = [a for a in self._actors if a.wakes_ms <= self.now_ms or (a.ready and a.ready())]
        if not awake:
            self.now_ms = min(actor.wakes_ms for actor in self._actors)
            awake = [a for a in self._actors if a.wakes_ms <= self.now_ms]
        self._current = awake[self.random.randrange(len(awake))]
        self._current.turns.switch()
        if self._current.turns.dead:
            self._actors.remove(self._current)
        self._current = None

    def end(self) -> None:
        """End all actors where they are."""
        for actor in self._actors:
            self._current = None
            while not actor.turns.dead:
                actor.turns.throw(GreenletExit)
        self._actors.clear()
