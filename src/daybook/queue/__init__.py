"""The request log in Redis or Valkey: append, read, reply, trim; and the doorbells of Celery."""
