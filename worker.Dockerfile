# One image for every part of Daybook: the worker by default; beat, Flower, the API, migrate and every
# other command by naming it (`docker run daybook daybook verify`). It holds no secrets and no settings
# but DAYBOOK_HOME: the rest comes from the environment.
#
#   docker build -f worker.Dockerfile -t daybook .

FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
# The cache saves a second build the downloads; nothing of it stays in the image.
RUN --mount=type=cache,target=/root/.cache/pip \
    sh deploy/install . /opt/daybook

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/daybook \
        --shell /usr/sbin/nologin daybook
COPY --from=build /opt/daybook /opt/daybook
ENV PATH=/opt/daybook/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAYBOOK_HOME=/var/lib/daybook
USER 10001
WORKDIR /var/lib/daybook

# Celery's soft shutdown begins with SIGTERM; the exec form of CMD makes sure that it arrives.
STOPSIGNAL SIGTERM
# Only what a restart of the worker may mend: well while a server that it needs is away.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 \
    CMD ["daybook", "health", "--worker"]
CMD ["daybook", "worker"]
