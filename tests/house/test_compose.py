"""docker-compose.yml without Docker: against the Compose Specification, and each command against its own parser."""

from __future__ import annotations

import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.celery import celery

from celeriac.config import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)


def _parse(words: list[str]) -> tuple[click.Command, click.Context]:
    """Parse a line for ``celery`` as the shell would hand it over, down to the last subcommand, without running it."""
    assert words[:3] == ["celery", "-A", "shop"]
    command: click.Command = celery
    context = celery.make_context("celery", [])
    context.obj = CLIContext(app=Celery("shop", set_as_current=False), no_color=True, workdir=None)
    words = words[3:]
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["celery.commands"]
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = pkgutil.resolve_name(own[name]) if name in own else command.get_command(context, name)
        assert found is not None, f"no command {name!r}"
        command = found
        if isinstance(command, click.Group):  # which would print its help without a command
            context = click.Context(command, info_name=name, parent=context, obj=context.obj)
        else:
            context = command.make_context(name, words, parent=context)
    return command, context


def _check_schema(file: Path) -> subprocess.CompletedProcess[str]:
    """Hold a file against the Compose Specification's JSON schema, which the tool carries."""
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(tool, capture_output=True, text=True, check=False, timeout=60)


def _words(service: dict[str, Any]) -> list[str]:
    command = service["command"]
    return shlex.split(command) if isinstance(command, str) else list(command)


def test_the_file_is_what_the_compose_specification_asks_for() -> None:
    good = _check_schema(ROOT / "docker-compose.yml")
    assert (good.stdout.strip(), good.returncode) == ("ok -- validation done", 0)


def test_a_slip_in_the_file_would_be_noticed(tmp_path: Path) -> None:
    slip = tmp_path / "docker-compose.yml"
    slip.write_text((ROOT / "docker-compose.yml").read_text().replace("depends_on:", "depend_on:"))
    bad = _check_schema(slip)
    assert "'depend_on' was unexpected" in bad.stdout
    assert bad.returncode == 1


def test_there_is_one_service_for_each_part() -> None:
    assert sorted(SERVICES) == ["activities", "beat", "flower", "migrate", "postgres", "redis", "workflows"]
    assert OURS == ["activities", "beat", "flower", "migrate", "workflows"]
    assert SERVICES["activities"]["deploy"] == {"replicas": 2}


@pytest.mark.parametrize("name", ["workflows", "activities"])
def test_a_pool_serves_the_queue_its_settings_route_to(name: str) -> None:
    _, context = _parse(_words(SERVICES[name]))
    settings = Settings.load(env={key: str(value) for key, value in SERVICES[name]["environment"].items()})
    queue = settings.workflow_queue if name == "workflows" else settings.activity_queue
    assert queue in context.params["queues"]
    assert context.params["task_events"] is True


def test_no_queue_is_without_a_worker() -> None:
    pools = [_parse(_words(SERVICES[name]))[1] for name in ("workflows", "activities")]
    served = {queue for context in pools for queue in context.params["queues"]}
    assert served == {"workflows", "activities", Celery("shop", set_as_current=False).conf.task_default_queue}


def test_beat_parses() -> None:
    command, context = _parse(_words(SERVICES["beat"]))
    assert command.name == "beat"
    assert context.params["pidfile"] == "/tmp/celerybeat.pid"  # noqa: S108, in a container
    assert context.params["pidfile"] in SERVICES["beat"]["healthcheck"]["test"][1]


def test_migrate_parses() -> None:
    pytest.importorskip("celeriac.cli")
    command, _ = _parse(_words(SERVICES["migrate"]))
    assert command.name == "migrate"


def test_flower_parses() -> None:
    pytest.importorskip("flower.options")
    from tornado.options import options

    words = _words(SERVICES["flower"])
    assert words[:4] == ["celery", "-A", "shop", "flower"]
    given = dict(word.removeprefix("--").split("=") for word in words[4:])
    assert given == {"address": "0.0.0.0", "port": "5555"}  # noqa: S104, published on the loopback interface only
    assert given.keys() <= options.as_dict().keys()
    assert SERVICES["flower"]["ports"] == ["127.0.0.1:5555:5555"]


@pytest.mark.parametrize("name", ["workflows", "activities"])
def test_a_worker_is_asked_for_its_health_by_its_name(name: str) -> None:
    _, context = _parse(_words(SERVICES[name]))
    kind, line = SERVICES[name]["healthcheck"]["test"]
    asked, parsed = _parse(shlex.split(line.replace("$$HOSTNAME", "host")))
    assert (kind, asked.name) == ("CMD-SHELL", "inspect")
    assert parsed.params["destination"] == [f"{name}@host"]
    assert context.params["hostname"].partition("@")[0] == name


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_that_stays_says_when_it_is_well(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (name != "migrate")


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_nothing_of_ours_begins_before_the_tables_are_there(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {
        "redis": {"condition": "service_healthy"},
        "postgres": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }


@pytest.mark.parametrize("name", OURS)
def test_the_environment_is_made_of_settings_and_services_that_exist(name: str) -> None:
    environment = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    Settings.load(env=environment)
    hosts = {match for value in environment.values() for match in re.findall(r"://(?:.*@)?([a-z]+)[:/]", value)}
    assert hosts == {"redis", "postgres"}


def test_the_image_is_built_of_files_that_are_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    allowed = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert sources == allowed
    assert sorted(source for source in sources if not (ROOT / source).exists()) == []
