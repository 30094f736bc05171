"""The results of the intake's messages: each answers the message that asked, and no other.

Celery keeps the first SUCCESS of a task id permanently, and lets anything else overwrite each
other: right for ids that are used once. Services use the reference of a request as the id, so that
what they send again is idempotent; then a corrected or a conflicting request comes under a used id.

So a message claims the result of its id when the intake takes it: what an older one left is
replaced by STARTED. Whatever is stored later says for which message it is, and a younger claim
keeps it out. A mark (a digest of what the message says) tells whether two messages are the same;
a moment (milliseconds of the result's server, growing for each id) which of two is the younger.

A message that comes again, delivered or tried once more, is not younger for that: the marks of
those whose claims were replaced stay with the result, and anyone who finds its own among them gives
way. One that comes again without having claimed anything (its worker died before) is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend
from kombu.utils.json import dumps

from daybook.worker.messages import exact

INTAKE_TASK = "daybook.enqueue"

AT = "daybook_at"
"""Attribute of a message that the intake has taken: when it claimed its result, GAVE_WAY if it
left that to a younger one."""

GAVE_WAY = 0
"""Before any claim: what is stored with it replaces nobody's."""

REPLACED_MAX = 8
"""Marks of replaced claims that stay with a result. An older message that comes again after so many
younger ones is taken for the youngest."""

_SCRIPT = """
-- ARGV: seconds to live, mark, meta, then of an answer the moment of its claim and its state; of a
-- claim '' and whether the message comes again; then how many marks are kept.
local known = redis.call('GET', KEYS[1])
local state, mark, at = nil, nil, 0
local kept = {}
local was_replaced = false
local function keep(one)
  if one == ARGV[2] then
    was_replaced = true
  elseif type(one) == 'string' and string.match(one, '^%x+$') then
    kept[#kept + 1] = '"' .. one .. '"'
  end
end
if known then
  local is_json, meta = pcall(cjson.decode, known)
  if is_json and type(meta) == 'table' then
    state, mark, at = meta.status, meta.daybook_mark, tonumber(meta.daybook_at) or 0
    if type(meta.daybook_replaced) == 'table' then
      for _, one in ipairs(meta.daybook_replaced) do
        keep(one)
      end
    end
  end
end
local own_at
if ARGV[4] == '' then
  if mark == ARGV[2] and (state == 'STARTED' or state == 'SUCCESS') then
    return {1, string.format('%.0f', at)} -- not so a failure: who sends the same again waits
  end
  if was_replaced and ARGV[5] == '1' then
    return {0, '0'}
  end
  local now = redis.call('TIME')
  local present = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  own_at = math.max(present, at + 1)
else
  own_at = tonumber(ARGV[4])
  if mark ~= ARGV[2] and at > own_at then
    return {0, '0'} -- a younger message has claimed the id
  end
  if mark == ARGV[2] then
    if state == 'SUCCESS' and ARGV[5] ~= 'SUCCESS' then
      return {0, '0'} -- the same message, seen twice
    end
    own_at = math.max(own_at, at)
  end
end
if mark ~= ARGV[2] then
  keep(mark)
end
local said = string.format(
  '{"daybook_at":%.0f,"daybook_mark":"%s","daybook_replaced":[%s],',
  own_at,
  ARGV[2],
  table.concat(kept, ',', math.max(1, #kept - tonumber(ARGV[6]) + 1))
)
local text = said .. string.sub(ARGV[3], 2)
redis.call('SET', KEYS[1], text, 'EX', ARGV[1])
redis.call('PUBLISH', KEYS[1], text)
return {1, string.format('%.0f', own_at)}
"""
"""Claims a result, or stores it, in one step: whether it did, and the moment of the claim."""


class AnsweringBackend(RedisBackend):
    """Celery's results in Redis, but for those of the intake."""

    def claim(self, task_id: str, mark: str, *, comes_again: bool = False) -> int:
        """Take the result of ``task_id`` for a message; what an older one left there goes.

        comes_again: the message was delivered or tried before, so leave the result to another one
        that has replaced its claim since. Returns the moment of the claim, GAVE_WAY when it was
        left.
        """
        meta = self._meta(None, states.STARTED, task_id)
        arguments = [self._seconds(), mark, meta, "", int(comes_again), REPLACED_MAX]
        script = self.client.register_script(_SCRIPT)
        taken, at = script([self.get_key_for_task(task_id)], arguments)
        return int(at) if taken else GAVE_WAY

    def answer(self, task_id: str, mark: str, at: int, result: Any, state: str) -> bool:
        """Store the result of the message that claimed ``task_id`` at that moment.

        Returns whether it was stored: not when a younger message has claimed the id since.
        """
        meta = self._meta(self.encode_result(result, state), state, task_id)
        return self._put(task_id, mark, at, meta, state)

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **options: Any,
    ) -> Any:
        """What Celery stores itself. result: encoded already."""
        if getattr(request, "task", None) != INTAKE_TASK:
            return super()._store_result(task_id, result, state, traceback, request, **options)
        if state in states.READY_STATES:  # the claim has said STARTED, and stays while it retries
            mark = mark_of(request)
            at = getattr(request, AT, None)
            if at is None:  # it expired before the intake took it, or its worker was lost
                at = self.claim(task_id, mark, comes_again=comes_again(request))
            meta = self._meta(result, state, task_id, traceback, request)
            self._put(task_id, mark, at, meta, state)
        return result

    def _put(self, task_id: str, mark: str, at: int, meta: str, state: str) -> bool:
        arguments = [self._seconds(), mark, meta, at, state, REPLACED_MAX]
        script = self.client.register_script(_SCRIPT)
        # Tried again while the server is away, as Celery does.
        return bool(self.ensure(script, ([self.get_key_for_task(task_id)], arguments))[0])

    def _seconds(self) -> int:
        return int(self.expires)

    def _meta(
        self, result: Any, state: str, task_id: str, traceback: Any = None, request: Any = None
    ) -> str:
        meta = self._get_result_meta(result, state, traceback, request)
        if request is None:  # Celery would name what the task that runs just now has sent
            meta["children"] = []
        text: str = self.encode({**meta, "task_id": task_id})
        return text


def request_of(message: Any) -> Any:
    """What a message of the intake asks for, its delay being the request's ``scheduled_for``.

    message: Celery's context of the task, in the worker's parent or in a child. A request that is
    tried again has a delay of its own.
    """
    args, kwargs = message.args or (), message.kwargs or {}
    request = kwargs.get("request", args[0] if args else None)
    eta = getattr(message, "eta", None)
    if eta and not message.retries and isinstance(request, Mapping):
        return {**request, "scheduled_for": eta}
    return request


def comes_again(message: Any) -> bool:
    """Whether a message was delivered or tried before."""
    delivery = getattr(message, "delivery_info", None) or {}
    return bool(message.retries) or delivery.get("redelivered") is True


def mark_of(message: Any) -> str:
    """A digest of what a message says: the same for all deliveries of it, and repetitions."""
    # As Celery would send it: an exact number is spelled otherwise than any text.
    text = dumps(exact(request_of(message)), sort_keys=True)
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
