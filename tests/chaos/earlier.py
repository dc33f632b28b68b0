"""Code of an earlier release, taken from this repository's history, for workers that run beside the new ones."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.acceptance.processes import REPOSITORY

BACK: Final = (100, 60, 40, 25, 15, 10, 6, 3, 1)
"""How many commits back is looked, the earliest first, where there is no release to be had."""
_TRY: Final = """
import importlib

from celeriac import WorkflowContext

WorkflowContext.execute_local_activity, WorkflowContext.execute_activity, WorkflowContext.wait_signal
importlib.import_module("tests.chaos.shop").durable.runtime.store.check()
"""


def earlier_release(folder: Path, environment: Mapping[str, str], wanted: str | None = None) -> str:
    """Put the code of an earlier release into a folder for PYTHONPATH and return its name; empty where none works.

    It is the last release, else the earliest of some commits, that has what the shop needs and works with the tables. A clone
    without history has none.

    :param environment: what its workers will find.
    :param wanted: the one to take, as git names it.
    """
    for name in [wanted] if wanted else _candidates():
        if _unpack(name, folder) and _works(folder, environment):
            return name
    return ""


def _candidates() -> Iterator[str]:
    tag = _git("describe", "--tags", "--abbrev=0")
    if tag:
        yield tag
    head = _git("rev-parse", "HEAD:celeriac")
    for count in BACK:
        commit = _git("rev-parse", "--short", "--verify", "--quiet", f"HEAD~{count}")
        if commit and _git("rev-parse", f"{commit}:celeriac") != head:
            yield commit


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def _unpack(name: str, folder: Path) -> bool:
    done = subprocess.run(["git", "archive", name, "celeriac"], cwd=REPOSITORY, capture_output=True, check=False)
    if done.returncode:
        return False
    folder.mkdir(exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    tests = folder / "tests"
    if not tests.exists():
        tests.symlink_to(REPOSITORY / "tests")
    return True


def _works(folder: Path, environment: Mapping[str, str]) -> bool:
    env = {**os.environ, **environment, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", _TRY], env=env, cwd=folder, capture_output=True, check=False)
    return done.returncode == 0
