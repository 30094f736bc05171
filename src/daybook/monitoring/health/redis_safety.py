"""Whether the log's server keeps what it has accepted: on a disk, and in its memory.

What a server of others doesn't tell (``CONFIG`` is often refused) is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daybook.monitoring.health.checks import Asked, Finding, inspection, refused, worst
from daybook.queue.connect import translated_faults

NEARLY_FULL = 7 / 8
"""Of ``maxmemory``: from here on workers trim what was applied before its time."""

_WHOLE = "accepted requests would be lost when it restarts"
_LOST_BY_FSYNC = {
    "everysec": "up to a second of accepted requests is lost when the machine loses power",
    "no": "what the kernel has not written yet, half a minute of accepted requests and more, is "
    "lost when the machine loses power",
}


def judge_persistence(asked: Asked) -> Finding:
    """What is accepted is on a disk before its producer is told."""
    told = _info(asked, "persistence")
    settings = _config(asked, "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save")
    is_on = _is_on(told, settings)
    if is_on is None:
        return Finding("unknown", f"the server does not tell whether it has a file: else {_WHOLE}")
    if not is_on:
        rest = ", but for its snapshots" if settings.get("save") else ""
        return Finding("failed", f"appendonly is no: {_WHOLE}{rest}; set it to yes")
    found = [*_write_faults(told), *_fsync(settings)]
    return worst(found, "appendonly, appendfsync always")


def _is_on(told: Mapping[str, Any], settings: Mapping[str, str]) -> bool | None:
    if "aof_enabled" in told:
        return bool(told["aof_enabled"])
    return settings["appendonly"] == "yes" if "appendonly" in settings else None


def _write_faults(told: Mapping[str, Any]) -> list[Finding]:
    found = []
    if told.get("aof_last_write_status", "ok") != "ok":
        text = "its append-only file can't be written: nothing is accepted; is the disk full?"
        found.append(Finding("failed", text))
    if told.get("aof_last_bgrewrite_status", "ok") != "ok":
        text = "the last rewrite of its append-only file failed: it grows; is the disk full?"
        found.append(Finding("warning", text))
    if told.get("rdb_last_bgsave_status", "ok") != "ok":
        text = "its last snapshot failed: with stop-writes-on-bgsave-error nothing is accepted"
        found.append(Finding("warning", text))
    return found


def _fsync(settings: Mapping[str, str]) -> list[Finding]:
    if "appendfsync" not in settings:
        lost = _LOST_BY_FSYNC["everysec"]
        return [Finding("unknown", f"appendonly; appendfsync is not told: unless always, {lost}")]
    found = []
    if (policy := settings["appendfsync"]) != "always":
        lost = _LOST_BY_FSYNC.get(policy, "accepted requests may be lost")
        found.append(Finding("warning", f"appendfsync is {policy}: {lost}; set it to always"))
    if settings.get("no-appendfsync-on-rewrite") == "yes":
        text = f"no-appendfsync-on-rewrite is yes: meanwhile {_LOST_BY_FSYNC['no']}"
        found.append(Finding("warning", text))
    return found


def judge_memory(asked: Asked) -> Finding:
    """A full server refuses new requests, and drops none that it has accepted."""
    told = _info(asked, "memory")
    settings = _config(asked, "maxmemory-policy", "maxmemory")
    policy = told.get("maxmemory_policy", settings.get("maxmemory-policy"))
    bound = int(told.get("maxmemory", settings.get("maxmemory", 0)))
    found = []
    if policy is None:
        text = "the server does not tell its maxmemory-policy: one but noeviction drops requests"
        found.append(Finding("unknown", text))
    elif policy != "noeviction":
        found.append(_evicts(str(policy), bound))
    used = int(told.get("used_memory", 0))
    if bound and used > bound * NEARLY_FULL:
        text = f"{used >> 20} of {bound >> 20} MiB are used: full, it refuses new requests"
        found.append(Finding("warning", text))
    return worst(found, "noeviction")


def _evicts(policy: str, bound: int) -> Finding:
    if policy.startswith("volatile-"):
        what = "outcomes before their time, and what workers say of themselves"
        state: Any = "warning"
    else:
        what = "accepted requests that nobody has applied"
        state = "failed" if bound else "warning"
    when = "when its memory is full" if bound else "once it has a maxmemory and that is full"
    return Finding(
        state, f"maxmemory-policy is {policy}: it drops {what} {when}; set it to noeviction"
    )


def _info(asked: Asked, section: str) -> Mapping[str, Any]:
    """A section of INFO; empty when the server refuses it."""

    def ask() -> Any:
        with translated_faults():
            return asked.log.client.info(section)

    found = refused(ask)
    return found if isinstance(found, dict) else {}


def _config(asked: Asked, *names: str) -> dict[str, str]:
    """Settings of the server, those that it tells."""

    def ask() -> Any:
        with translated_faults():
            return asked.log.client.config_get(*names)

    found = refused(ask)
    if not isinstance(found, dict):
        return {}
    return {_text(name): _text(value) for name, value in found.items()}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


REDIS_SAFETY = (
    inspection("persistence", judge_persistence, "log"),
    inspection("memory", judge_memory, "log"),
)
