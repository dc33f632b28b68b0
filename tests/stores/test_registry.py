"""Stores by URL: what opens, and what is told otherwise."""

from __future__ import annotations

import builtins
import sys
from importlib import metadata
from typing import Any

import pytest

from celeriac.errors import ConfigurationError, MissingExtra
from celeriac.stores.memory import InMemoryStore
from celeriac.stores.registry import GROUP, open_store
from celeriac.stores.sql import SqlStore


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("memory://", "InMemoryStore"),
        ("sqlite:///shop.db", "SqlStore('sqlite:///shop.db')"),
        ("postgresql://u:secret@h/shop", "SqlStore('postgresql+psycopg://u:***@h/shop')"),
        ("postgres://h/shop", "SqlStore('postgresql+psycopg://h/shop')"),
        ("postgresql+psycopg://h/shop", "SqlStore('postgresql+psycopg://h/shop')"),
    ],
)
def test_a_url_names_a_store(url: str, opened: str) -> None:
    store = open_store(url)
    assert opened in repr(store)
    store.close()


def test_options_go_to_the_store() -> None:
    store = open_store("sqlite://", table_prefix="wf_", clock=lambda: 42)
    assert isinstance(store, SqlStore)
    store.check()
    assert (store.now(), store.db.tables.runs.name) == (42, "wf_runs")
    memory = open_store("memory://", clock=lambda: 43)
    assert isinstance(memory, InMemoryStore)
    assert memory.now() == 43


def message(url: str, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, **options)
    return str(caught.value)


def test_an_unknown_scheme_lists_the_known_and_asks() -> None:
    told = message("postgrsql://h/shop")
    assert told.startswith("no store is known for URLs that begin postgrsql://. Did you mean 'postgresql'? Known: ")
    assert "mariadb, memory, mysql" in told
    assert "Did you mean" not in message("smoke://signals")


def test_what_is_no_url_is_shown_one() -> None:
    assert message("shop.db") == (
        "a store is named by a URL, such as postgresql+psycopg://localhost/shop or sqlite:///shop.db, not 'shop.db'"
    )


def test_an_option_that_the_store_does_not_have_is_named() -> None:
    told = message("memory://", table_prefix="x")
    assert told.startswith("the store for memory:// was given an option that it does not have: ")
    assert "'table_prefix'" in told


@pytest.mark.parametrize(
    ("url", "module", "told"),
    [
        (
            "postgresql://h/shop",
            "psycopg",
            (
                "the store postgresql+psycopg needs an optional dependency. Install it with: "
                "pip install 'celeriac[postgres]'"
            ),
        ),
        (
            "mariadb://h/shop",
            "pymysql",
            "the store mariadb+pymysql needs an optional dependency. Install it with: pip install 'celeriac[mysql]'",
        ),
    ],
)
def test_a_missing_driver_names_its_extra(monkeypatch: pytest.MonkeyPatch, url: str, module: str, told: str) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra) as caught:
        open_store(url)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+pg8000://h/shop", "postgresql+pg8000 can't be a store. Supported are: mariadb+mysqldb, "),
        ("postgresql://h:port/shop", "can't be read"),
        (
            "postgresql://h/shop?prepare_threshold=often",
            "prepare_threshold='often' in the store's URL: a number, or none",
        ),
    ],
)
def test_a_url_that_can_not_work_is_told_why(url: str, told: str) -> None:
    assert told in message(url)


def test_other_distributions_bring_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("cloud", "tests.stores.test_registry:open_cloud", GROUP)

    def points(*, group: str, **params: Any) -> metadata.EntryPoints:
        return metadata.EntryPoints([point] if group == GROUP else []).select(**params)

    monkeypatch.setattr(metadata, "entry_points", points)
    opened: Any = open_store("cloud://here", room=7)
    assert opened == ("cloud://here", 7)
    assert "Known: cloud, mariadb, memory" in message("clout://here")


def open_cloud(url: str, *, room: int) -> Any:
    return url, room
