"""The Celery worker: ``celery -A daybook.worker worker``, or ``daybook worker``."""

from daybook.extras import require_in_celery

require_in_celery("worker")

from daybook.worker import start, tasks  # noqa: F401 - they register themselves
from daybook.worker.app import app

__all__ = ["app"]
