"""A real browser, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SECONDS_MAX = 120

BROWSER = shutil.which("chromium")


def in_a_browser(url: str, profile: Path) -> str:
    """The text of a page as a browser has it when its scripts are done."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update", "--dump-dom"]
    options += [f"--user-data-dir={profile}", "--virtual-time-budget=20000"]
    assert BROWSER is not None
    shown = subprocess.run(
        [BROWSER, *options, url], capture_output=True, text=True, timeout=SECONDS_MAX, check=True
    )
    return shown.stdout
