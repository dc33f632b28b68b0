"""pyproject.toml against the code: what is imported is required, what is promised is there."""

from __future__ import annotations

import ast
import pkgutil
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ENTRY_POINTS = [
    pytest.param(target, id=f"{group}: {name}")
    for group, points in {"scripts": PROJECT["scripts"], **PROJECT["entry-points"]}.items()
    for name, target in points.items()
]


# Imported, and there without being asked for: what pydantic and Flower bring along in the version they need, the pool
# that runs us if it does, and the tool of those who use the plugin and the store contract.
COMPANIONS = {"pydantic-core", "tornado", "gevent", "pytest"}


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;~! ]", each)[0].lower() for each in requirements}


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted((ROOT / "celeriac").rglob("*.py")):
        yield file.relative_to(ROOT), ast.parse(file.read_text())


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_whatever_is_imported_is_required_or_in_an_extra() -> None:
    distributions = packages_distributions()
    declared = _names(PROJECT["dependencies"]).union(*(_names(EXTRAS[extra]) for extra in EXTRAS if extra != "dev"))
    declared |= COMPANIONS
    undeclared = {
        f"{file}: {package}"
        for file, tree in _trees()
        for package in {name.partition(".")[0] for name in _imported(tree)}
        if package not in sys.stdlib_module_names
        and package not in {"celeriac", "__future__"}
        and not declared & {name.lower().replace("_", "-") for name in distributions.get(package, [package])}
    }
    assert sorted(undeclared) == []


def test_every_extra_that_an_error_names_exists() -> None:
    named = {
        (str(file), node.args[1].value)
        for file, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] == "MissingExtra"
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
    }
    assert sorted((file, extra) for file, extra in named if extra not in EXTRAS) == []


@pytest.mark.parametrize("target", ENTRY_POINTS)
def test_every_entry_point_leads_somewhere(target: str) -> None:
    assert pkgutil.resolve_name(target) is not None


def test_the_version_is_in_the_changelog_once_it_is_released() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1:] == [] or headings[1] == PROJECT["version"]


def test_types_are_shipped() -> None:
    assert (ROOT / "celeriac" / "py.typed").read_bytes() == b""
