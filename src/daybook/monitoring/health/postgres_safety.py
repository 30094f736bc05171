"""Whether the database keeps what it has committed, and lets nobody change the journal."""

from __future__ import annotations

from typing import Any

from daybook.monitoring.health.checks import Asked, Finding, State, inspection, worst
from daybook.store.schema import APPEND_ONLY_BODY, APPEND_ONLY_TRIGGER, WORKER_ROLE

_LOST = {
    "fsync": ("failed", "a crash of the machine can destroy the database"),
    "full_page_writes": ("failed", "a crash of the machine can leave torn pages behind"),
    "synchronous_commit": (
        "warning",
        "units of work whose outcomes were told can be lost when the server dies; the log brings "
        "them back as long as it keeps them",
    ),
}
"""What is lost with each of these settings off."""

_SETTINGS = """
SELECT current_setting('fsync', true) AS fsync,
    current_setting('full_page_writes', true) AS full_page_writes,
    current_setting('synchronous_commit', true) AS synchronous_commit
"""
_OF_ROLES = """
SELECT coalesce(string_agg(DISTINCT coalesce(quote_ident(rolname), 'every role')
    || CASE WHEN setdatabase = 0 THEN '' ELSE ' here' END, ', '), '')
FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole, unnest(setconfig) AS one
WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND (setrole = 0 OR pg_has_role(setrole, CAST(:worker AS name), 'MEMBER'))
    AND lower(one) IN ({bad})
"""
_TRIGGER = """
SELECT tgenabled::text AS enabled, tgtype & 62 AS events, prosrc AS body
FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE tgrelid = 'transactions'::regclass AND tgname = :name
"""
_BEFORE_UPDATE_DELETE_TRUNCATE = 2 + 8 + 16 + 32
_RIGHTS = """
SELECT coalesce(string_agg(quote_ident(rolname) || ' may ' || rights, '; '), '') FROM (
SELECT r.rolname, string_agg(right_, ', ' ORDER BY right_) AS rights
FROM pg_roles r, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS right_
WHERE (r.rolname = current_user OR pg_has_role(r.oid, CAST(:worker AS name), 'MEMBER'))
    AND NOT r.rolsuper AND NOT pg_has_role(r.oid, CAST(:owner AS oid), 'MEMBER')
    AND (has_table_privilege(r.oid, 'transactions', right_)
        OR (right_ = 'UPDATE' AND has_any_column_privilege(r.oid, 'transactions', right_)))
GROUP BY r.rolname ORDER BY r.rolname
) found
"""
_OWNERS = """
SELECT coalesce(string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname), '')
FROM pg_roles r
WHERE pg_has_role(r.oid, CAST(:owner AS oid), 'MEMBER') AND (r.rolname = current_user
    OR (NOT r.rolsuper AND pg_has_role(r.oid, CAST(:worker AS name), 'MEMBER')))
"""
_OWNER = "SELECT relowner FROM pg_class WHERE oid = 'transactions'::regclass"


def judge_durability(asked: Asked) -> Finding:
    """What is committed is on the disk: as this session sees it, and as workers' roles have it."""
    row = asked.row(_SETTINGS)._mapping
    found = [_lost(name, "") for name in _LOST if row[name] == "off"]
    not_told = [name for name in _LOST if row[name] is None]
    if not_told:
        found.append(Finding("unknown", f"the server does not tell {', '.join(not_told)}"))
    if row["synchronous_commit"] != "off":
        who = _named(asked, _OF_ROLES.format(bad=_written("synchronous_commit")))
        if who:
            found.append(_lost("synchronous_commit", f" for {who}"))
    return worst(found, "fsync, full_page_writes, synchronous_commit")


def _written(name: str) -> str:
    """Every way to write that a setting is off."""
    return ", ".join(f"'{name}={value}'" for value in ("off", "false", "no", "0", "of", "f", "n"))


def _lost(name: str, who: str) -> Finding:
    state, what = _LOST[name]
    degree: State = "failed" if state == "failed" else "warning"
    return Finding(degree, f"{name} is off{who}: {what}; turn it on")


def judge_journal(asked: Asked) -> Finding:
    """The trigger refuses every change of the journal, and no worker has a right to one."""
    owner = asked.row(_OWNER)[0]
    found = [*_trigger_faults(asked), *_replica(asked)]
    roles = {"worker": WORKER_ROLE, "owner": owner}
    with_rights = asked.row(_RIGHTS, roles)[0]
    if with_rights:
        found.append(Finding("failed", f"{with_rights} on transactions: revoke that"))
    owners = asked.row(_OWNERS, roles)[0]
    if owners:
        text = f"{owners} owns the journal, and may change anything: log workers in as a member of"
        found.append(Finding("warning", f"{text} {WORKER_ROLE} that owns nothing"))
    return worst(found, "append-only")


def _trigger_faults(asked: Asked) -> list[Finding]:
    row: Any = asked.row(_TRIGGER, {"name": APPEND_ONLY_TRIGGER})
    if row is None:
        wrong = "is missing"
    elif row.enabled not in ("O", "A"):
        wrong = "is disabled"
    elif row.events != _BEFORE_UPDATE_DELETE_TRUNCATE:
        wrong = "is not for every change"
    elif row.body.split() != APPEND_ONLY_BODY.split():
        wrong = "does not refuse what it should"
    else:
        return []
    text = f"the trigger {APPEND_ONLY_TRIGGER} {wrong}: changes of the journal are not refused"
    return [Finding("failed", f"{text}; run `daybook verify`, and put it back")]


def _replica(asked: Asked) -> list[Finding]:
    here = asked.row("SELECT current_setting('session_replication_role')")[0] != "origin"
    written = ", ".join(f"'session_replication_role={value}'" for value in ("replica", "local"))
    who = "this session" if here else _named(asked, _OF_ROLES.format(bad=written))
    if not who:
        return []
    text = "session_replication_role is not origin for"
    return [Finding("failed", f"{text} {who}: the journal's trigger does nothing there")]


def _named(asked: Asked, query: str) -> str:
    return str(asked.row(query, {"worker": WORKER_ROLE})[0])


POSTGRES_SAFETY = (
    inspection("durability", judge_durability, "database"),
    inspection("journal", judge_journal, "database"),
)
