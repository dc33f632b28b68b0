"""The two programs as they are started: ``celery -A proj workflow`` and ``celeriac``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CELERY = (
    "import sys; from celery.bin.celery import celery; from celeriac.cli import workflow; "
    "celery.add_command(workflow); celery(auto_envvar_prefix='CELERY', prog_name='celery')"
)  # what the entry point does where celeriac is installed
CELERIAC = "from celeriac.cli import main; main(prog_name='celeriac')"


def run(program: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CELERIAC_", "CELERY_"))}
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[dict[str, str]]:
    return {"SHOP_STORE": f"sqlite:///{tmp_path / 'shop.db'}"}  # type: ignore[return-value]


def test_a_run_is_started_listed_and_ended_through_celerys_command(store: dict[str, str]) -> None:
    celery = (CELERY, "-A", "tests.cli.app", "workflow")
    started = run(*celery, "start", "shop.fulfil", "--id", "order-1", "--arg", '"A"', **store)
    assert (started.returncode, started.stderr) == (0, "")
    listed = run(*celery, "list", **store)
    assert re.fullmatch(r"order-1  shop\.fulfil  running  .*  its next turn", listed.stdout.splitlines()[1])
    ended = run(*celery, "terminate", "order-1", "--yes", **store)
    assert (ended.returncode, ended.stdout) == (0, "order-1  terminated\n")


@pytest.mark.slow
@pytest.mark.acceptance
def test_with_a_worker_all_is_well(store: dict[str, str], redis_url: str, tmp_path: Path) -> None:
    environment = {**store, "SHOP_BROKER": redis_url}
    celery = (CELERY, "-A", "tests.cli.app", "workflow")
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.cli.app", "worker", "-c", "1", "-n", "w@localhost"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        paid = run(*celery, "start", "shop.pay", "--id", "order-1", "--arg", '"A"', "--wait=50", **environment)
        assert (paid.returncode, paid.stdout.splitlines()[1:]) == (0, ['"receipt-A"'])
        examined = run(*celery, "doctor", **environment)
        assert (examined.returncode, examined.stdout.splitlines()[-1]) == (0, "all is well")
        assert "ok  workers    w@localhost on queue celery\n" in examined.stdout
    finally:
        worker.terminate()
        worker.wait(20)


def test_without_an_app_it_says_how_to_name_one() -> None:
    said = run(CELERY, "workflow", "list")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        "Error: which app? Name it in front: celery -A yourapp workflow ... (or in the environment: APP)\n"
    )


def test_an_app_without_celeriac_says_how_to_attach_it(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("from celery import Celery\napp = Celery('bare', broker='memory://')\n")
    said = run(CELERY, "-A", "bare", "workflow", "list", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith("Error: celeriac is not attached to the app 'bare'. Write: durable = Celeriac(app, ")


def test_modules_that_cannot_be_imported_do_not_hide_the_runs(tmp_path: Path, store: dict[str, str]) -> None:
    (tmp_path / "broken.py").write_text(
        "from celery import Celery\nfrom celeriac import Celeriac\n"
        "app = Celery('broken', broker='memory://', include=['absent_module'])\n"
        f"durable = Celeriac(app, store={store['SHOP_STORE']!r})\n"
    )
    paths = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    assert run(CELERY, "-A", "broken", "workflow", "list", **paths).stdout == "no runs\n"
    said = run(CELERY, "-A", "broken", "workflow", "start", "x", **paths)
    assert said.stderr.startswith(
        "Error: the app's modules could not be imported: ModuleNotFoundError: No module named"
    )
    assert "Traceback" not in said.stderr


def test_a_reader_that_goes_away_is_no_error(store: dict[str, str]) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", CELERY, "-A", "tests.cli.app", "workflow", "list"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **store},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    command.stdout.close()
    assert command.stderr is not None
    assert b"Traceback" not in command.stderr.read()
    command.stderr.close()
    command.wait(30)


def test_version() -> None:
    said = run(CELERIAC, "version")
    assert re.fullmatch(r"celeriac .+ \(celery 5\..+, kombu .+, redis .+, sqlalchemy .+, python 3\..+\)\n", said.stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_serves_both_programs(shell: str) -> None:
    said = run(CELERIAC, "completion", shell)
    assert (said.returncode, said.stderr) == (0, "")
    assert f"_CELERIAC_COMPLETE={shell}_complete" in said.stdout
    assert f"_CELERY_COMPLETE={shell}_complete" in said.stdout


def test_what_the_shell_is_told_to_complete() -> None:
    asked = {"COMP_WORDS": "celeriac ver", "COMP_CWORD": "1", "_CELERIAC_COMPLETE": "bash_complete"}
    assert run(CELERIAC, **asked).stdout == "plain,version\n"
    asked = {"COMP_WORDS": "celery workflow te", "COMP_CWORD": "2", "_CELERY_COMPLETE": "bash_complete"}
    assert run(CELERY, **asked).stdout == "plain,terminate\n"


def test_the_plug_in_is_cheap_to_load() -> None:
    """Every ``celery`` command loads it, workers included."""
    code = (
        "import celery, celeriac, sys; before = set(sys.modules); import celeriac.cli; "
        "print(sorted(set(sys.modules) - before))"
    )
    said = run(code)
    assert (
        said.stdout
        == str(["celeriac.cli", "celeriac.cli.groups", "celeriac.cli.program", "celeriac.cli.workflow"]) + "\n"
    )
