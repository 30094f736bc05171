"""What is shipped: the wheel, the pinned versions, the image and the compose file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from daybook.api.serving import GRACEFUL_SECONDS_MAX
from daybook.embedded.work import FLOWER_COLUMNS
from daybook.settings import Settings, variable_of
from daybook.store.schema import READER_ROLE, REGISTRAR_ROLE, WORKER_ROLE

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+)(?P<operator>:?[-?+])?(?P<rest>[^}]*)\}")
SECRET = re.compile(r"(?:^|_)(?:PASSWORD|SECRET|TOKEN|KEY)$")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the checkout and returns its exit code and output."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tool(name: str) -> str:
    """Path of a command installed beside this interpreter."""
    return str(Path(sys.executable).parent / name)


def services() -> dict[str, Any]:
    """The services of the compose file, by name, with anchors resolved."""
    content = YAML(typ="safe").load(COMPOSE_FILE.read_text(encoding="utf-8"))
    return dict(content["services"])


def example_settings() -> dict[str, str]:
    """Names and values in .env.example."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose_variables() -> list[re.Match[str]]:
    """Every ``${…}`` in the compose file."""
    return list(VARIABLE.finditer(COMPOSE_FILE.read_text(encoding="utf-8")))


# --- the compose file -----------------------------------------------------------------------------


def test_compose_file_fits_the_schema() -> None:
    """The compose file is valid under the schema of the Compose specification."""
    schema = ("--builtin-schema", "vendor.compose-spec")
    result = run(tool("check-jsonschema"), *schema, str(COMPOSE_FILE))
    assert result.returncode == 0, result.stdout + result.stderr


def compose_command() -> list[str] | None:
    """How Docker Compose is called here (``config`` needs no engine); None when it is missing."""
    if shutil.which("docker") and run("docker", "compose", "version").returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def test_compose_itself_accepts_the_file_only_with_every_secret(tmp_path: Path) -> None:
    """`docker compose config` succeeds with all secrets, and names the one that is missing."""
    if (command := compose_command()) is None:
        pytest.skip("Docker Compose is not installed: the schema check stands in for it")
    secrets = {name: "s3cret" for name, value in example_settings().items() if not value}
    environment = tmp_path / "env"

    def config() -> subprocess.CompletedProcess[str]:
        lines = [f"{name}={value}\n" for name, value in secrets.items()]
        environment.write_text("".join(lines), encoding="utf-8")
        return run(*command, "--env-file", str(environment), "config", "--quiet")

    assert (complete := config()).returncode == 0, complete.stderr
    for name in list(secrets):
        secrets[name] = ""
        assert name in (refused := config()).stderr
        assert refused.returncode != 0
        secrets[name] = "s3cret"


def test_no_secret_has_a_default() -> None:
    """Each secret is required by name, with a message that tells the fix, and empty in the example.

    So nothing starts with a password that others know.
    """
    secrets = [match for match in compose_variables() if SECRET.search(match[1])]
    assert len({match[1] for match in secrets}) >= 12
    for match in secrets:
        assert match["operator"] == ":?", f"{match[0]} can be left empty"
        assert ".env.example" in match["rest"], f"{match[0]} does not say where to set it"
        assert example_settings()[match[1]] == ""


def test_no_secret_is_written_out() -> None:
    """Every password in an environment, an address or an option comes from a variable."""
    without_variables = VARIABLE.sub("", COMPOSE_FILE.read_text(encoding="utf-8"))
    assert not re.findall(r"://[\w.-]*:[^@\s]+@", without_variables)
    assert not re.findall(r"^\s*\w*(?:PASSWORD|AUTH):[ \"']*\w", without_variables, re.M)


def test_example_lists_exactly_the_variables_of_the_compose_file() -> None:
    """.env.example names every variable that the compose file reads, with the same default."""
    defaults = {
        match[1]: match["rest"] if match["operator"] == ":-" else ""
        for match in compose_variables()
    }
    assert example_settings() == defaults


PARTS = ("migrate", "worker", "beat", "api", "flower", "backfill")


def test_every_setting_can_be_given_to_every_part() -> None:
    """Whatever .env says reaches each; addresses are given to those that need them.

    What the API listens with, and the key that opens it, are given to it alone.
    """
    known = {variable_of(name) for name in Settings.model_fields} - {"DAYBOOK_HOME"}
    addresses = {name for name in known if name.endswith("_URL")}
    of_the_api = {name for name in known if name.startswith("DAYBOOK_API_")}
    for name in PARTS:
        environment = services()[name]["environment"]
        given = {key: environment[key] for key in environment if key.startswith("DAYBOOK_")}
        assert given.keys() - addresses == known - addresses - (
            of_the_api if name != "api" else set()
        )
        assert "DAYBOOK_REDIS_URL" in given
        passed_on = {key for key, value in given.items() if value is None}
        assert passed_on - of_the_api == known - addresses - of_the_api


def test_one_service_builds_the_image() -> None:
    """The others wait for it and never pull: several builds of one name fail."""
    assert [name for name, service in services().items() if "build" in service] == ["migrate"]
    for name in PARTS[1:]:
        service = services()[name]
        assert service["image"] == services()["migrate"]["image"]
        assert service["pull_policy"] == "never"
        assert "migrate" in service["depends_on"]


def test_logs_are_limited() -> None:
    """No container can fill the disk with what it says."""
    for service in services().values():
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys()


def test_producers_of_other_projects_reach_valkey_alone() -> None:
    """Its network has a name of its own, and no database on it."""
    content = YAML(typ="safe").load(COMPOSE_FILE.read_text(encoding="utf-8"))
    assert content["networks"]["producers"]["name"] == "${DAYBOOK_NETWORK:-daybook}"
    on_it = {name for name, one in services().items() if "producers" in one.get("networks", [])}
    assert on_it == {"valkey", "backfill"}


def test_a_backfill_can_write_where_its_files_are() -> None:
    """It is started by hand, as the user whose folder it is, with a producer's rights."""
    service = services()["backfill"]
    assert service["profiles"] == ["backfill"]
    (volume,) = service["volumes"]
    assert volume["target"] == service["working_dir"]
    assert not volume.get("read_only")
    assert service["user"].startswith("${BACKFILL_USER:-")
    assert "daybook_producer:" in service["environment"]["DAYBOOK_REDIS_URL"]


def test_only_migrate_may_change_the_schema() -> None:
    """The owner's password reaches the database server and `migrate`, and no other service."""
    given = {
        name
        for name, service in services().items()
        if "DAYBOOK_OWNER_PASSWORD" in str(service.get("environment"))
    }
    assert given == {"postgres", "migrate"}
    assert "daybook_worker_login:" in services()["worker"]["environment"]["DAYBOOK_DATABASE_URL"]


def test_roles_are_made_before_the_migration() -> None:
    """The init script makes each role that a migration grants to, since its owner may not."""
    script = (ROOT / "deploy/postgres/10-roles.sql").read_text(encoding="utf-8")
    for role in (WORKER_ROLE, READER_ROLE, REGISTRAR_ROLE):
        assert f"CREATE ROLE {role} NOLOGIN;" in script
    logins = {
        "daybook_worker_login": WORKER_ROLE,
        "daybook_api_login": READER_ROLE,
        "daybook_registrar_login": REGISTRAR_ROLE,
    }
    made = re.findall(r"^CREATE ROLE (\w+) LOGIN PASSWORD :'\w+' IN ROLE (\w+);$", script, re.M)
    assert dict(made) == logins
    named = re.findall(r"postgresql://(\w+):", COMPOSE_FILE.read_text(encoding="utf-8"))
    assert set(named) == {"daybook_owner", *logins}
    asked = re.findall(r"^\\getenv (\w+) (\w+)$", script, re.M)
    assert {name for name, _ in asked} == set(
        re.findall(r":'(\w+)'", script.split("\\getenv", 1)[1])
    )
    assert {variable for _, variable in asked} <= services()["postgres"]["environment"].keys()


def test_every_user_of_valkey_gets_a_password() -> None:
    """The start fills in each, and the compose file gives it each; each user is used."""
    users = (ROOT / "deploy/valkey/users.acl").read_text(encoding="utf-8")
    wanted = set(re.findall(r"#(VALKEY_\w+) ", users))
    assert len(wanted) == len(users.splitlines())
    script = (ROOT / "deploy/valkey/start").read_text(encoding="utf-8")
    assert set(re.findall(r"s/#(VALKEY_\w+) /", script)) == wanted
    (unset,) = re.findall(r"^unset ((?:\\\n|.)+)$", script, re.M)
    assert {word for word in unset.split() if word != "\\"} == wanted
    valkey = services()["valkey"]["environment"]
    assert {name for name in valkey if name.startswith("VALKEY_")} == wanted
    named = re.findall(r"redis://(\w+):", COMPOSE_FILE.read_text(encoding="utf-8"))
    assert {"default", *named} == set(re.findall(r"^user (\w+)", users, re.M))


def test_the_api_has_rights_of_its_own_and_asks_for_a_key() -> None:
    """It reads the ledger and writes keys; what is in flight when it is stopped is answered."""
    service = services()["api"]
    environment = service["environment"]
    assert service["command"] == ["daybook", "api"]
    assert "//daybook_api_login:" in environment["DAYBOOK_DATABASE_URL"]
    assert "//daybook_registrar_login:" in environment["DAYBOOK_REGISTRY_DATABASE_URL"]
    assert "//daybook_api:" in environment["DAYBOOK_REDIS_URL"]
    assert environment["DAYBOOK_API_MASTER_KEY"].startswith("${DAYBOOK_API_MASTER_KEY:?")
    (published,) = service["ports"]
    assert published == f"127.0.0.1:${{API_PORT:-5001}}:{environment['DAYBOOK_API_PORT']}"
    assert f":{environment['DAYBOOK_API_PORT']}/health" in str(service["healthcheck"]["test"])
    assert service["read_only"]
    assert int(service["stop_grace_period"].removesuffix("s")) > GRACEFUL_SECONDS_MAX
    assert {"migrate", "postgres", "valkey"} == service["depends_on"].keys()


def test_services_are_watched_and_keep_to_themselves() -> None:
    """Each service has a health check, and what is published is bound to the loopback."""
    for name, service in services().items():
        assert "healthcheck" in service, name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"


def test_flower_hears_of_every_request_and_knows_the_queues() -> None:
    """Workers tell it of requests, and it starts when they are well; its list shows reasons."""
    assert services()["worker"]["command"] == ["daybook", "worker", "--task-events"]
    flower = services()["flower"]
    assert flower["depends_on"]["worker"]["condition"] == "service_healthy"
    assert FLOWER_COLUMNS in flower["command"]
    assert "exception" in FLOWER_COLUMNS


def test_data_is_kept_in_named_volumes_and_synced() -> None:
    """Both servers keep their data in a named volume, and the log is synced before each answer."""
    volumes = {name: str(services()[name]["volumes"]) for name in ("postgres", "valkey")}
    assert "postgres-data:/var/lib/postgresql" in volumes["postgres"]
    assert "valkey-data:/data" in volumes["valkey"]
    lines = (ROOT / "deploy/valkey/valkey.conf").read_text(encoding="utf-8").splitlines()
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(lines)
    assert "dir /data" in lines


# --- the image ------------------------------------------------------------------------------------


def test_dockerfile_passes_the_linter() -> None:
    """hadolint finds nothing to say about worker.Dockerfile."""
    result = run(tool("hadolint"), "--failure-threshold", "style", "worker.Dockerfile")
    assert result.returncode == 0, result.stdout


def test_image_stops_cleanly_and_runs_without_rights() -> None:
    """The worker's image runs as a numeric user other than root, in exec form, with a check."""
    lines = (ROOT / "worker.Dockerfile").read_text(encoding="utf-8").splitlines()
    last_stage = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")) :]
    (user,) = [line.split()[1] for line in last_stage if line.startswith("USER ")]
    assert int(user) > 0
    assert 'CMD ["daybook", "worker"]' in last_stage
    assert "STOPSIGNAL SIGTERM" in last_stage
    assert any(line.startswith("HEALTHCHECK ") for line in last_stage)


def test_build_context_holds_what_the_install_script_copies() -> None:
    """.dockerignore lets through every file that deploy/install reads, and no .env."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    script = (ROOT / "deploy/install").read_text(encoding="utf-8")
    (copied,) = re.findall(r"^for name in (.+); do$", script, re.M)
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == {
        *copied.split(),
        "constraints.txt",
        "deploy/install",
    }


# --- versions -------------------------------------------------------------------------------------


def pinned() -> dict[str, str]:
    """Name and exact version of every line of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_constraints_are_exact_and_sorted() -> None:
    """Each line is ``name==version``: no address, no hash, no local path, in order."""
    names = list(pinned())
    assert names == sorted(names, key=str.lower)
    for name, version in pinned().items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        assert re.fullmatch(r"[0-9][0-9a-z.!+]*", version)
    assert not {"pip", "daybook"} & {name.lower() for name in names}


def test_every_dependency_is_pinned_within_its_range() -> None:
    """Each dependency in pyproject.toml, optional or not, has a version in constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = {canonicalize_name(name): version for name, version in pinned().items()}
    for text in chain(project["dependencies"], *project["optional-dependencies"].values()):
        requirement = Requirement(text)
        if requirement.name == "daybook":
            continue
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in constraints.txt"
        assert version in requirement.specifier, f"{text} excludes the pinned {version}"


def test_no_file_of_versions_holds_an_address() -> None:
    """No committed list, lock or configuration names a host to download from."""
    listed = run("git", "ls-files", "--", "*.txt", "*.lock", "*.toml", "*.cfg", "*.ini")
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = listed.stdout.splitlines()
    assert "pyproject.toml" in files
    holding = [
        name
        for name in files
        if re.search(r"https?://", (ROOT / name).read_text(encoding="utf-8", errors="replace"))
    ]
    assert holding == []


# --- the wheel ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel, built from a copy of the sources, without the network."""
    copy = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignore = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", copy / "src", ignore=ignore)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index")
    result = run(*pip, "--wheel-dir", str(copy / "dist"), str(copy))
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = (copy / "dist").glob("daybook-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_file_of_the_package(wheel_files: set[str]) -> None:
    """Modules, the Lua script, migrations and the typing marker are all in the wheel."""
    source = ROOT / "src"
    tracked = {
        path.relative_to(source).as_posix()
        for path in (source / "daybook").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tracked - wheel_files == set()
    assert "daybook/py.typed" in wheel_files
    assert any(re.fullmatch(r"daybook/queue/scripts/\w+\.lua", name) for name in wheel_files)
    assert any(re.fullmatch(r"daybook/store/migrations/versions/\w+\.py", n) for n in wheel_files)


def test_wheel_carries_the_licence_and_the_command(wheel_files: set[str]) -> None:
    """The licence text and the `daybook` command are part of the wheel."""
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_files)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel_files)


# --- the Makefile ---------------------------------------------------------------------------------


def test_help_lists_every_target() -> None:
    """`make` alone explains each target that the Makefile declares."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.M)
    shown = run("make", "--no-print-directory").stdout
    for target in targets.split():
        assert re.search(rf"^  make {target}\s+\S", shown, re.M), f"{target} is not explained"
