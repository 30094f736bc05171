"""The Celery worker: ``celery -A daybook.worker worker``, or ``daybook worker``."""

from daybook.worker import tasks  # noqa: F401 - registers the tasks
from daybook.worker.celery_app import app

__all__ = ["app"]
