"""`make` on machines that have this Python or that; each Python is a shell script that answers as the real one would."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "make-venv"

# Answers the two questions that the script asks, makes a virtual environment with itself in it, and notes down
# whatever else it is told to do.
PYTHON = """#!/bin/sh
case "$*" in
    --version) echo "Python {version}" ;;
    *version_info*) exit {too_old} ;;
    *ensurepip*) exit {no_venv} ;;
    "-m venv "*) /bin/mkdir -p "$4/bin"; /bin/cp "$0" "$4/bin/python"; echo "$0 $*" >>{log} ;;
    *) echo "$0 $*" >>{log} ;;
esac
"""


class Machine:
    """A PATH with the Pythons that it is given, and what they were told to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.bin = folder / "bin"
        self.bin.mkdir()

    def has(self, name: str, version: str, *, too_old: bool = False, venv: bool = True) -> Path:
        program = self.bin / name
        text = PYTHON.format(version=version, too_old=int(too_old), no_venv=int(not venv), log=self.log)
        program.write_text(text)
        program.chmod(0o755)
        return program

    def make(self, *python: str) -> subprocess.CompletedProcess[str]:
        command = [str(SCRIPT), str(self.folder / "venv"), *python]
        return subprocess.run(
            command, env={"PATH": str(self.bin)}, capture_output=True, text=True, check=False, timeout=30
        )

    def was_told(self) -> list[str]:
        told = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.replace(f"{self.folder}/", "") for line in told]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


INSTALLING = "venv/bin/python -m pip install --quiet --disable-pip-version-check --editable .[dev]"


def test_the_newest_python_is_taken(machine: Machine) -> None:
    machine.has("python3", "3.11.2")
    machine.has("python3.12", "3.12.1")
    machine.has("python3.13", "3.13.0")
    run = machine.make()
    assert (run.returncode, run.stdout) == (0, "")
    assert machine.was_told() == ["bin/python3.13 -m venv --clear venv", INSTALLING]


def test_a_name_with_nothing_behind_it_is_passed_over(machine: Machine) -> None:
    machine.has("python3.14", "nothing", too_old=True)
    machine.has("python3", "3.11.2")
    assert machine.make().returncode == 0
    assert machine.was_told() == ["bin/python3 -m venv --clear venv", INSTALLING]


def test_a_virtual_environment_that_works_is_kept(machine: Machine) -> None:
    machine.has("python3", "3.11.2")
    machine.make()
    machine.log.unlink()
    assert machine.make().returncode == 0
    assert machine.was_told() == [INSTALLING]


def test_a_virtual_environment_whose_python_has_gone_is_made_anew(machine: Machine) -> None:
    machine.has("python3", "3.11.2")
    machine.make()
    machine.log.unlink()
    (machine.folder / "venv" / "bin" / "python").unlink()
    assert machine.make().returncode == 0
    assert machine.was_told() == ["bin/python3 -m venv --clear venv", INSTALLING]


def test_the_python_asked_for_is_taken(machine: Machine) -> None:
    machine.has("python3.13", "3.13.0")
    named = machine.has("mine", "3.12.0")
    assert machine.make(str(named)).returncode == 0
    assert machine.was_told() == ["bin/mine -m venv --clear venv", INSTALLING]


def test_no_python(machine: Machine) -> None:
    run = machine.make()
    assert run.returncode == 1
    assert run.stderr == (
        "error: celeriac needs Python 3.11 or newer, and this machine has no python3.\n"
        "Install one (Debian: apt install python3 python3-venv, macOS: brew install python3),\n"
        "or say where it is: make PYTHON=/path/to/python3\n"
    )


def test_an_old_python(machine: Machine) -> None:
    machine.has("python3", "3.9.6", too_old=True)
    run = machine.make()
    assert run.returncode == 1
    assert run.stderr.splitlines()[0] == (
        "error: celeriac needs Python 3.11 or newer, and this machine has Python 3.9.6."
    )


def test_debians_python_without_its_venv_package(machine: Machine) -> None:
    machine.has("python3", "3.11.2", venv=False)
    run = machine.make()
    assert run.returncode == 1
    assert run.stderr == "error: python3 has no venv module. On Debian and Ubuntu: apt install python3-venv\n"


def test_an_old_python_asked_for(machine: Machine) -> None:
    machine.has("python3.13", "3.13.0")
    named = machine.has("mine", "3.10.0", too_old=True)
    run = machine.make(str(named))
    assert (run.returncode, run.stderr) == (1, f"error: PYTHON={named} is no Python from 3.11 on\n")
