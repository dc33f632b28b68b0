"""Crash points: inert unless armed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac import crashes
from celeriac.config.sources import in_environment
from celeriac.crashes import CrashPoint

PASS = (
    "from celeriac.crashes import CrashPoint, passing; [(passing(CrashPoint(p)), print(p, flush=True)) for p in {!r}]"
)


def passing(at: str, *points: str) -> tuple[int, list[str]]:
    """Pass points in a process of its own; return how it ended and which points it has passed."""
    command = [sys.executable, "-c", PASS.format(points)]
    done = subprocess.run(
        command, env={**os.environ, crashes.VARIABLE: at}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.split()


def test_nothing_is_armed() -> None:
    assert [crashes.passing(point) for point in CrashPoint] == [None] * len(CrashPoint)


def test_a_process_dies_at_the_given_passing() -> None:
    points = ("after-commit", "timer-due", "after-commit", "after-commit")
    assert passing("after-commit:2", *points) == (-signal.SIGKILL, ["after-commit", "timer-due"])
    assert passing("after-commit", *points) == (-signal.SIGKILL, [])
    assert passing("after-commit:4", *points) == (0, list(points))


def test_one_process_dies_for_the_files_of_a_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"timer-due.{number}").touch()
    assert passing(str(tmp_path), "timer-due", "after-commit") == (0, ["timer-due", "after-commit"])
    assert passing(str(tmp_path), "after-commit", "timer-due") == (-signal.SIGKILL, ["after-commit"])
    assert passing(str(tmp_path), "timer-due") == (0, ["timer-due"])


@pytest.mark.parametrize("value", ["after-comit:1", "after-commit:0", "after-commit:soon"])
def test_what_names_no_point_is_refused(value: str) -> None:
    expected = f"CELERIAC_CRASH_AT={value!r}: write a folder, or a point and a number: {', '.join(CrashPoint)}"
    with pytest.raises(ValueError, match="CELERIAC_CRASH_AT") as caught:
        crashes.arm(value)
    assert str(caught.value) == expected


def test_the_variable_is_no_setting() -> None:
    assert in_environment({crashes.VARIABLE: "after-commit:1"}, ()) == {}
