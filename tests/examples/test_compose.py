"""docker-compose.yml without Docker: each service's own command as a process, with its own environment."""

from __future__ import annotations

import json
import re
import shlex
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac.embedded import free_port
from tests.examples.project import ROOT, Process, Project, show

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def _words(name: str) -> list[str]:
    words = shlex.split(SERVICES[name]["command"])
    assert words[:3] == ["celery", "-A", "shop"]
    return words[3:]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, broker: str, postgres_server: Any) -> Iterator[Project]:
    """The shop with the environment of the file, its two servers being the tests' own."""
    url = postgres_server.create_database()
    env = {name: str(value) for name, value in SERVICES["workflows"]["environment"].items()}
    env = {name: value.replace("redis://redis:6379/", broker.rpartition("/")[0] + "/") for name, value in env.items()}
    env["CELERIAC_STORE"] = url
    assert not any(re.search(r"@postgres|//redis", value) for value in env.values())
    yield Project(ROOT / "examples", tmp_path_factory.mktemp("compose"), env)
    postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def pools(project: Project) -> Iterator[dict[str, Process]]:
    """Both pools, after the migration has run to its end, as ``depends_on`` has it."""
    assert project.celery(*_words("migrate")).startswith("migrated ")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(project.running(*_words(name), until="ready.", name=name))
            for name in ("workflows", "activities")
        }


def test_an_order_goes_through_both_pools(project: Project, pools: dict[str, Process]) -> None:
    order = json.dumps({"id": "A-17", "cents": 4200})
    project.celery("workflow", "start", "shop.flows.fulfil", "--id", "order-A-17", "--input", order)
    project.celery("workflow", "signal", "order-A-17", "approved", "true")
    assert (
        project.python("""
import json
from shop.flows import durable
print(json.dumps(durable.handle("order-A-17").result(timeout=30)))
""")
        == "tracking-A-17"
    )
    document = show(project, "order-A-17")
    started = [each["data"]["worker"] for each in document["history"] if each["type"] == "activity_started"]
    assert {each.partition("@")[0] for each in started} == {"activities"}


def test_turns_are_taken_by_the_pool_of_workflows(project: Project, pools: dict[str, Process]) -> None:
    order = json.dumps({"id": "B-1", "cents": 4200})
    project.celery("workflow", "start", "shop.flows.fulfil", "--id", "order-B-1", "--input", order)
    assert show(project, "order-B-1")["run"]["queue"] == "workflows"


def test_the_doctor_finds_nothing_to_mend(project: Project, pools: dict[str, Process]) -> None:
    told = json.loads(project.celery("workflow", "doctor", "--json"))
    assert [each for each in told["checks"] if each["level"] != "ok"] == []


@pytest.mark.parametrize("name", ["workflows", "activities"])
def test_a_pool_answers_when_it_is_asked_for_its_health(project: Project, pools: dict[str, Process], name: str) -> None:
    (node,) = re.findall(rf"{name}@(\S+) ready", pools[name].said)
    _, line = SERVICES[name]["healthcheck"]["test"]
    words = shlex.split(line.replace("$$HOSTNAME", node))
    assert "pong" in project.celery(*words[3:])


def test_beat_runs(project: Project, tmp_path: Path) -> None:
    words = [each.replace("/tmp/", f"{tmp_path}/") for each in _words("beat")]  # noqa: S108
    with project.running(*words, until="beat: Starting...", name="beat"):
        assert int((tmp_path / "celerybeat.pid").read_text())


def test_migrating_twice_is_migrating_once(project: Project, pools: dict[str, Process]) -> None:
    assert project.celery(*_words("migrate")) == "the tables are up to date (version 0002)\n"


def test_flower_is_well(project: Project, pools: dict[str, Process], broker: str) -> None:
    port = free_port()
    words = [each.replace("5555", str(port)).replace("0.0.0.0", "127.0.0.1") for each in _words("flower")]  # noqa: S104
    with project.running(*words, until="Visit me at", name="flower"):
        url = f"http://127.0.0.1:{port}/healthcheck"
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(url, timeout=3) as answer:
                    assert answer.read() == b"OK"
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
