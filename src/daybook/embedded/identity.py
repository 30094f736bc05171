"""Tells one process of the system from all others that ever had its pid."""

from __future__ import annotations

from pathlib import Path

import psutil


def start_mark(pid: int) -> str | None:
    """What tells a living process from all others that ever had its pid; None when it is gone.

    On Linux the boot and the tick of the start, which no change of the clock moves.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if Path("/proc/self/stat").exists() else _start_mark_by_clock(pid)
    state, *fields = stat.rpartition(")")[2].split()
    if state in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{fields[18]}"


def _start_mark_by_clock(pid: int) -> str | None:
    try:
        one = psutil.Process(pid)
        return None if one.status() == psutil.STATUS_ZOMBIE else f"{one.create_time():.2f}"
    except psutil.Error:
        return None
