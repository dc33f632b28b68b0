"""``celeriac demo``: passes, fails when it has to, leaves nothing behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from celeriac.cli import main
from celeriac.demo import ledger
from celeriac.demo.ledger import Execution
from celeriac.orchestrator import events
from celeriac.orchestrator.events import Event, HistoryEvent
from tests.cli.test_programs import CELERIAC, ROOT


def environment(temporary: Path) -> dict[str, str]:
    """Return an environment that the demo has to shrug off, its temporary files in a folder that can be looked at."""
    strange = {
        "CELERY_BROKER_URL": "redis://production.example/0",
        "CELERIAC_STORE": "postgresql+psycopg://production.example/shop",
        "CELERIAC_LEASE": "3600",
    }
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), **strange}


def processes_in(folder: Path) -> list[str]:
    """Name the processes that work in a folder, or whose command line names it."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            place, command = str((each / "cwd").readlink()), (each / "cmdline").read_bytes().decode()
        except OSError:  # it has ended meanwhile, or is another user's
            continue
        if str(folder) in place or str(folder) in command:
            found.append(command.replace("\0", " "))
    return found


@pytest.mark.slow
@pytest.mark.acceptance
@pytest.mark.timeout(180)
def test_the_demo_passes_within_a_minute_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CELERIAC, "demo", "--most", "4", "--json"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] is True
    assert document["seconds"] < 60
    assert document["wrong"] == []
    assert document["interrupted"] != []
    assert [(each["id"], each["result"], each["activities"], each["passed"]) for each in document["runs"]] == [
        ("order-1", "paid, parcel-order-1", 2, True),
        ("order-2", "paid, parcel-order-2", 2, True),
        ("order-3", "not approved, refunded", 2, True),
        ("pictures", "4 checksums, 12 thumbnails", 17, True),
    ]
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.acceptance
def test_a_demo_that_is_told_to_end_takes_everything_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-c", CELERIAC, "demo"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "are up" in line:
                break
        assert len(processes_in(tmp_path)) > 3
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()
        assert demo.wait(30) == 128 + signal.SIGTERM
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def demo(*words: str) -> Result:
    return CliRunner().invoke(main, ["demo", *words], prog_name="celeriac")


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    refused = demo("--images", str(tmp_path))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == f"Error: there is no .png, .jpg or .jpeg in {tmp_path}\n"


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ("PIL", "the demo, which makes thumbnails with Pillow, needs an optional dependency."),
        (
            "skimage",
            "the demo, whose pictures come with scikit-image (or from --images FOLDER), needs an optional dependency.",
        ),
    ],
)
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, absent: str, said: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == absent else found(name, *rest))
    refused = demo()
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == f"Error: {said} Install it with: pip install 'celeriac[demo]'\n"


# --- the judge --------------------------------------------------------------------------------------------------------


def history(*told: Event) -> list[HistoryEvent]:
    return [HistoryEvent.of(number, number, each) for number, each in enumerate(told, 1)]


CHARGE, SHIP = events.ActivityScheduled(1, "shop.charge"), events.ActivityScheduled(2, "shop.ship")
CHARGED, SHIPPED = events.ActivityCompleted(1, "paid"), events.ActivityCompleted(2, "sent")


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ([CHARGE, CHARGED, SHIP, SHIPPED], []),
        ([CHARGE, CHARGED, SHIP], ["activity #2 has 0 outcomes"]),
        ([CHARGE, CHARGED, CHARGED, SHIP, SHIPPED], ["activity #1 has 2 outcomes"]),
        ([CHARGE, events.ActivityFailed(1, {})], ["activity #1 has 0 outcomes", "activity #1 failed"]),
    ],
)
def test_every_activity_has_to_be_recorded_once(told: list[Event], wrong: list[str]) -> None:
    from celeriac.demo.verdict import recorded_once

    assert recorded_once(history(*told)) == wrong


@pytest.mark.parametrize(
    ("executed", "wrong"),
    [
        (["run-1"] * 3 + ["run-2"], []),
        (["run-1"] * 3, ["run-2 was never executed"]),
        (["run-1"] * 2 + ["run-2"], ["the bank was asked less than three times"]),
        (["run-1"] * 3 + ["run-2", "run-9"], ["run-9 was executed and never scheduled"]),
    ],
)
def test_the_ledger_has_to_agree_with_the_history(executed: list[str], wrong: list[str]) -> None:
    from celeriac.demo.verdict import as_executed

    names = {"run-1": "shop.charge"}
    own = [Execution(each, names.get(each, "shop.ship"), "anna", ended=True) for each in executed]
    assert as_executed("run", history(CHARGE, CHARGED, SHIP, SHIPPED), own) == wrong


def test_the_ledger_knows_what_a_killed_process_was_about(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"

    def line(execution: str, worker: str, **more: Any) -> str:
        told = {"execution": execution, "activity_id": "run-1", "name": "shop.ship", "worker": worker, **more}
        return json.dumps(told) + "\n"

    file.write_text(line("a", "anna", ended=False) + line("b", "bert", ended=False) + line("b", "bert", ended=True))
    assert ledger.read(file) == [
        Execution("run-1", "shop.ship", "anna", ended=False),
        Execution("run-1", "shop.ship", "bert", ended=True),
    ]
    assert ledger.under_way(file, "bert") == []
    assert [each.worker for each in ledger.under_way(file, "anna")] == ["anna"]
