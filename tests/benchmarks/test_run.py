"""The command, from end to end in tiny sizes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from benchmarks import cases, cli, summary
from benchmarks.cases import CASES
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.peer import Setting, version_of
from benchmarks.rounds import Bench, Found


@pytest.mark.slow
@pytest.mark.acceptance
@pytest.mark.timeout(400)
def test_a_quick_run_compares_celeriac_with_raw_celery_and_makes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases.Case, "made_small", cases.Case.made_tiny)
    monkeypatch.setattr(cli, "_QUICK_LIMIT", 1e6)  # the machine may be busy
    target, page = tmp_path / "figures" / "run.json", tmp_path / "performance.md"
    done = CliRunner().invoke(cli.main, ["run", "--quick", "--rounds", "1", "--json", str(target)])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert set(printed["ratios"]) == set(cases.QUICK)
    assert printed["ratios"]["chains-10"]["celery-redis"] > 0
    assert printed["cpu_ms_per_activity"]["chains-10"]["celeriac"]["total"] > 0
    assert printed["counted_per_activity"]["chains-10"]["celeriac"]["broker_commands"] > 0
    written = json.loads(target.read_text())
    assert written["setting"] == {"store": "postgresql", "pool": "prefork", "concurrency": 2}
    assert written["cases"]["chains-10"]["sizes"] == {"count": 10, "length": 10}
    assert "fsync on" in written["servers"]["PostgreSQL"]
    done = CliRunner().invoke(cli.main, ["report", str(target), "--to", str(page)])
    assert done.exit_code == 0, done.output
    assert "| chains of 10, 10 at once | activities/s |" in page.read_text()
    if version_of("matplotlib") is None:
        assert "no plots: matplotlib is not installed" in done.stderr
    else:
        assert (
            "![activities a second, by case and peer](performance/postgresql-prefork-throughput.svg)"
            in page.read_text()
        )
        assert (tmp_path / "performance" / "postgresql-prefork-throughput.svg").stat().st_size > 1000


def test_a_run_that_is_told_to_end_ends_in_order() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, cli._ended_in_order():
        os.kill(os.getpid(), signal.SIGTERM)
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_peer_that_is_not_installed_is_said_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(PEERS["celery-redis"]), "missing", lambda _: ["celery"])
    done = CliRunner().invoke(cli.main, ["run", "--peers", "celery-redis", "--cases", "chains-10", "--no-count"])
    assert done.exit_code == 0, done.output
    assert "not measured: celery-redis, because it is not installed: pip install celery" in done.stderr


@pytest.mark.parametrize("option", ["--cases", "--peers"])
def test_names_that_nothing_has_are_refused_with_those_there_are(option: str) -> None:
    done = CliRunner().invoke(cli.main, ["run", option, "nothing"])
    assert done.exit_code == 2
    assert "there are: " in done.stderr


def test_no_case_but_the_first_begins_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "_sample", lambda *_: {"activities_per_second": 1.0})
    found = [Found(CASES["chains-10"]), Found(CASES["alone-10"])]
    with Bench([PEERS["celeriac"]], Setting()) as bench:
        bench.measure(found, 3, until=0.0, step=lambda _: None)
        bench.count(found, until=0.0, step=lambda _: None)
    assert [each.samples for each in found] == [{"celeriac": [{"activities_per_second": 1.0}]}, {}]
    made = summary.report(found, setting=Setting(), peers=[PEERS["celeriac"]], missing={}, servers={})
    assert summary.quick(made)["rounds"] == {"chains-10": 1, "alone-10": 0}


def test_cases_are_chosen_by_name_or_by_its_beginning() -> None:
    def names(text: str) -> list[str]:
        return [each.name for each in cli._cases(text, ())]

    assert names("row-1000,alone") == ["alone-10", "alone-1", "row-1000"]
    assert names("fan-out-100") == ["fan-out-100"]
    assert names("row-1") == ["row-1000", "row-1000-by-8", "row-10000"]
    with pytest.raises(click.BadParameter, match=r"^no case is called 'rows'; there are: chains-10, alone-10, "):
        names("row-1000,rows")
    assert not any(each.long for each in cli._cases(None, [n for n, e in CASES.items() if not e.long]))


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_reports_what_it_has(
    interrupt: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen: tuple[Any, ...] = ([PEERS["celeriac"]], [CASES["chains-10"]], Setting(), 3, {})

    def measure(samples: list[dict[str, float]]) -> summary.Report:
        def interrupted(_: Bench, found: list[Found], *args: object, **kwargs: object) -> None:
            found[0].samples.update({"celeriac": samples} if samples else {})
            raise interrupt

        monkeypatch.setattr(Bench, "measure", interrupted)
        return cli.measure(*chosen)

    made = measure([{"activities_per_second": 2.0}])
    assert made["cases"]["chains-10"]["peers"]["celeriac"]["median"] == {"activities_per_second": 2.0}
    assert capsys.readouterr().err.strip().endswith("interrupted; this is what was measured by then")
    with pytest.raises(interrupt):
        measure([])
