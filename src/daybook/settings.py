"""Settings of one process, from the environment (``DAYBOOK_*``, or a file that it names).

What all processes must agree on (the number of partitions) is not here: it is one shared fact,
kept in Redis and Postgres.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, unquote_plus, urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daybook.errors import ConfigError
from daybook.instance import running_instance

PREFIX = "DAYBOOK_"
FILE_ENDING = "_FILE"
FILE_CHARACTERS_MAX = 10_000
"""Most that a file with the value of a setting may hold."""
DAY_SECONDS = 86_400
YEAR_SECONDS = 366 * DAY_SECONDS
BROKER_SCHEMES = frozenset({"redis", "rediss", "unix", "redis+socket"})
"""Of a broker in which the intake can keep the results of its messages."""

PART_SECONDS = 0.01
"""Shortest time-out or pause. Less than a millisecond would be none at all to Postgres."""


def _number(default: Any, least: float, most: float, description: str) -> Any:
    """A number with its bounds, both included: an infinite or a huge one fails somewhere else,
    silently, where nobody looks for a setting."""
    return Field(default, ge=least, le=most, description=description)


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


class _Files(PydanticBaseSettingsSource):
    """Settings in files that ``DAYBOOK_…_FILE`` name: so are secrets given to containers."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """What the file of one setting says; None when the environment names none."""
        variable = variable_of(field_name)
        path = os.environ.get(variable + FILE_ENDING)
        return (_text_in(path, variable) if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All settings that are in files. Raises ConfigError."""
        fields = self.settings_cls.model_fields
        found = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def _text_in(path: str, variable: str) -> str:
    if os.environ.get(variable):
        raise ConfigError(f"{variable} and {variable}{FILE_ENDING} are both set: set one of them")
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            text = file.read(FILE_CHARACTERS_MAX + 1)
    except (OSError, ValueError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "it is no text"
        raise ConfigError(f"{variable}{FILE_ENDING}: can't read {path}: {why}") from None
    value = text.strip()
    if not value:
        raise ConfigError(f"{variable}{FILE_ENDING}: {path} is empty")
    if len(text) > FILE_CHARACTERS_MAX or not value.isprintable():
        raise ConfigError(
            f"{variable}{FILE_ENDING}: {path} holds more than one line of printable text: leave "
            "the value of the setting alone in it"
        )
    return value


class Settings(BaseSettings):
    """Every setting, with its unit in its name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    home: Path = Field(Path(".daybook"), description="Data folder of the embedded servers.")
    database_url: str | None = Field(
        None, description="PostgreSQL of workers and readers: postgresql://user:password@host/db."
    )
    migration_database_url: str | None = Field(
        None, description="PostgreSQL as the owner of the schema; default: database_url."
    )
    registry_database_url: str | None = Field(
        None,
        description="PostgreSQL of who may write the registry; default: database_url.",
    )
    redis_url: str | None = Field(
        None, description="Redis or Valkey that keeps the log: redis://, rediss:// or unix://."
    )
    broker_url: str | None = Field(
        None, description="Celery broker, for doorbells and the intake; default: redis_url."
    )
    namespace: str = Field(
        "daybook", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Prefix of the log's keys."
    )
    batch_entries_min: int = _number(64, 1, 100_000, "Batch size when idle.")
    batch_entries_max: int = _number(8192, 1, 100_000, "Batch size under load.")
    batch_bytes_max: int = _number(8 << 20, 1 << 16, 1 << 30, "Bytes of requests in a batch.")
    drain_seconds_max: float = _number(
        2.0, PART_SECONDS, 120, "How long one doorbell keeps a worker before others get a turn."
    )
    deferred_max: int = _number(10_000, 1, 1_000_000, "Entries that a partition may defer at most.")
    rejection_wait_seconds_max: float | None = _number(
        None,
        PART_SECONDS,
        DAY_SECONDS,
        "Bound on the wait of a rejection for the past; none by default.",
    )
    log_entries_max: int = _number(
        2_000_000, 1, 1_000_000_000, "Entries of one partition's log before LogFull."
    )
    log_retention_seconds: int = _number(
        3600, 0, YEAR_SECONDS, "How long applied entries stay in the log."
    )
    outcome_retention_seconds: int = _number(
        3600, 60, YEAR_SECONDS, "How long outcomes can be read from Redis."
    )
    sweep_interval_seconds: float = _number(
        1.0, 0.1, 3600, "How often beat looks for unread entries."
    )
    snapshot_interval_seconds: float = _number(
        86_400.0, 0, YEAR_SECONDS, "How often beat has a snapshot taken, 1 at least; 0: never."
    )
    stall_seconds_max: float = _number(
        30.0, 0.1, DAY_SECONDS, "How long a partition with open entries may stand still."
    )
    lock_timeout_seconds: float = _number(
        5.0, PART_SECONDS, DAY_SECONDS, "Postgres lock_timeout of workers."
    )
    statement_timeout_seconds: float = _number(
        60.0, PART_SECONDS, DAY_SECONDS, "Postgres statement_timeout of workers."
    )
    idle_in_transaction_timeout_seconds: float = _number(
        30.0, PART_SECONDS, DAY_SECONDS, "Postgres idle_in_transaction_session_timeout of workers."
    )
    redis_timeout_seconds: float = _number(
        10.0, PART_SECONDS, 3600, "Socket timeout towards Redis."
    )
    retry_seconds_max: float = _number(
        5.0, 0, DAY_SECONDS, "How long a client tries again while Redis is away."
    )

    api_host: str = Field("127.0.0.1", description="Where the HTTP API listens.")
    api_port: int = _number(5001, 1, 65_535, "Port of the HTTP API.")
    api_master_key: str | None = Field(
        None, min_length=1, description="The key that may do everything over HTTP; none: no keys."
    )
    api_processes: int = _number(1, 1, 64, "Processes of the HTTP API.")
    api_requests_per_second_max: float | None = _number(
        None, PART_SECONDS, 1_000_000, "Requests of each key, in each process; none: any number."
    )
    api_cors_origins: str | None = Field(
        None,
        pattern=r"^https?://[^\s,/]+(,\s*https?://[^\s,/]+)*$",
        description="Whose pages may ask, with a key: origins, parted by commas; none by default.",
    )
    api_metrics_token: str | None = Field(
        None, min_length=1, description="What /metrics wants as a bearer token; none: it is off."
    )
    api_backup_folder: Path | None = Field(
        None, description="Where GET /backup writes its files; none: it is off."
    )
    api_account_number_service: str | None = Field(
        None, pattern="^https?://", description="What makes numbers of accounts; none: nothing."
    )
    api_account_number_authorization: str | None = Field(
        None, description="The Authorization header that it is asked with; none by default."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code, else in a file, else in the environment."""
        return init_settings, _Files(settings_cls), env_settings

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """What two settings say must be possible together."""
        if self.batch_entries_min > self.batch_entries_max:
            raise ValueError(
                f"DAYBOOK_BATCH_ENTRIES_MIN ({self.batch_entries_min}) must be at most "
                f"DAYBOOK_BATCH_ENTRIES_MAX ({self.batch_entries_max})"
            )
        for name in ("redis_url", "broker_url"):
            if fault := redis_address_fault(getattr(self, name) or ""):
                raise ValueError(f"{variable_of(name)}: {fault}")
        if self.broker_url:
            scheme, is_address, _ = self.broker_url.partition("://")
            if not is_address or scheme.lower() not in BROKER_SCHEMES:
                raise ValueError(
                    "DAYBOOK_BROKER_URL must begin with redis://, rediss:// or unix://: the "
                    "intake keeps its results there, which it can in no other broker, and not "
                    "through a Sentinel"
                )
        if 0 < self.snapshot_interval_seconds < 1:
            raise ValueError("DAYBOOK_SNAPSHOT_INTERVAL_SECONDS must be 0, or 1 at least")
        return self

    def require_database_url(self) -> str:
        """The database address, from the environment or the running embedded instance.

        Raises ConfigError when there is neither.
        """
        return self.database_url or self._from_instance("database_url")

    def require_migration_database_url(self) -> str:
        """The database address of the schema's owner. Raises ConfigError when there is none."""
        return self._or_that_of_workers("migration_database_url")

    def require_registry_database_url(self) -> str:
        """The database address of who may change the registry. Raises ConfigError without one."""
        return self._or_that_of_workers("registry_database_url")

    def require_redis_url(self) -> str:
        """The log's address, from the environment or the running embedded instance.

        Raises ConfigError when there is neither.
        """
        return self.redis_url or self._from_instance("redis_url")

    def require_broker_url(self) -> str:
        """The Celery broker's address in Celery's spelling. Raises ConfigError without one."""
        return celery_url(self.broker_url or self.require_redis_url())

    def _or_that_of_workers(self, name: str) -> str:
        given: str | None = getattr(self, name) or self.database_url
        return given or self._from_instance(name)

    def _from_instance(self, name: str) -> str:
        instance = running_instance(self.home)
        if name not in instance:
            raise ConfigError(
                f"{variable_of(name)} is not set and no instance runs in {self.home}: "
                "set it, or start one with `daybook up --detach`"
            )
        for other in ("database_url", "redis_url"):
            given = getattr(self, other)
            if given is not None and given != instance.get(other):
                raise ConfigError(
                    f"{variable_of(other)} is set, and is not that of the instance which runs in "
                    f"{self.home}: set {variable_of(name)} too, or neither"
                )
        return instance[name]


_DATABASE_OPTIONS = ("db", "virtual_host")
"""Parameters of an address that name a database, to the driver and to Celery."""


def redis_address_fault(redis_url: str) -> str | None:
    """Why an address of Redis names no database: the driver would silently take the first one.

    Nothing of the address is quoted: where this is wrong, it may be a part of the password.
    """
    try:
        parts = urlsplit(redis_url)
        _ = parts.port
    except ValueError:
        return None  # the driver refuses it
    options = parse_qs(parts.query)
    named = [value for option in _DATABASE_OPTIONS for value in options.get(option, [])]
    if parts.scheme in {"redis", "rediss"}:
        named.append(unquote(parts.path).strip("/"))
    if all(not one or (one.isascii() and one.isdecimal()) for one in named):
        return None
    return (
        "its database must be a number, as the 0 of redis://:password@host:6379/0; a / in a "
        "password is written %2F"
    )


def celery_url(redis_url: str) -> str:
    """The address of Redis as Celery spells it: ``unix://`` is ``redis+socket://`` there.

    Without ``ssl_cert_reqs`` its broker would talk to ``rediss://`` in plain text, password first.
    A password among the parameters it would not use, and would show.
    """
    scheme, _, rest = redis_url.partition("://")
    place, _, query = rest.partition("?")
    options = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if scheme == "unix":
        scheme = "redis+socket"
        if "db" in options:
            options["virtual_host"] = options.pop("db")
    if scheme == "rediss":
        options.setdefault("ssl_cert_reqs", "required")
    if "password" in options:
        user, password = (
            quote(unquote_plus(options.pop(name, "")), safe="") for name in ("username", "password")
        )
        place = f"{user}:{password}@{place}"
    query = "&".join(f"{name}={value}" if value else name for name, value in options.items())
    return f"{scheme}://{place}" + (f"?{query}" if query else "")


LIKE_A_SETTING = 0.85
"""How alike two names are, by difflib, of which one is taken for the other misspelt."""


def misspelt(variables: Iterable[str]) -> Iterator[str]:
    """What is said of variables that are no settings and resemble one; of others nothing."""
    known = [name.upper() + end for name in Settings.model_fields for end in ("", FILE_ENDING)]
    for variable in sorted(variables):
        prefix, name = variable[: len(PREFIX)].upper(), variable[len(PREFIX) :].upper()
        if prefix != PREFIX or name in known:
            continue
        if likely := difflib.get_close_matches(name, known, n=1, cutoff=LIKE_A_SETTING):
            yield f"{variable} is no setting: did you mean {PREFIX}{likely[0]}?"


def read_settings() -> Settings:
    """The settings, from the environment. Raises ConfigError that names what is wrong."""
    try:
        return Settings()
    except ValidationError as invalid:
        wrong = "; ".join(
            _told(error["loc"], error["msg"])
            for error in invalid.errors(include_url=False, include_input=False)
        )
        raise ConfigError(f"{wrong} (see docs/reference/settings.md)") from None


def bounds_of(field: FieldInfo) -> tuple[float, float] | None:
    """Least and most that a setting takes; None when it is no number."""
    least = [rule.ge for rule in field.metadata if hasattr(rule, "ge")]
    most = [rule.le for rule in field.metadata if hasattr(rule, "le")]
    return (least[0], most[0]) if least and most else None


def _told(location: tuple[int | str, ...], message: str) -> str:
    """What is wrong with a setting, by its name, with the range that it has."""
    if not location:  # it is about two of them, and names both
        return message.removeprefix("Value error, ")
    name = str(location[0])
    field = Settings.model_fields.get(name)
    bounds = bounds_of(field) if field else None
    if field is not None and bounds is not None:
        sort = "a number" if "float" in str(field.annotation) else "a whole number"
        message = f"must be {sort} from {bounds[0]} to {bounds[1]}"
    return f"{variable_of(name)}: {message}"


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once. Raises ConfigError."""
    return read_settings()
