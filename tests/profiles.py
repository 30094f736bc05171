"""Hypothesis profiles: ``ci`` by default, ``quick`` while one edits, ``long`` for many minutes."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = {"ci": 30, "quick": 15, "long": 5_000}

for _name, _examples in EXAMPLES.items():
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("DAYBOOK_HYPOTHESIS_PROFILE", "ci"))
