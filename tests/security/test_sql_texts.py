"""What the texts of statements are made of: names and words of our own, never a value."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import celeriac.stores.sql
from celeriac.config import Settings
from celeriac.errors import ConfigurationError
from celeriac.stores.sql import SqlStore, current, migrate
from celeriac.stores.sql.schema import make_tables
from celeriac.stores.sql.statements import word

ROOT = Path(celeriac.stores.sql.__file__).parent
SQL = (
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "WHERE",
    "ALTER",
    "CREATE",
    "DROP",
    "SET ",
    "VALUES",
    " AND ",
    "LOCK",
    "::",
)

# What may stand between the braces of a text that is SQL, by file: constants, names of columns, and numbers of our own.
PARTS = {
    "migrations/locking.py": {"PATIENCE"},
    "migrations/versions/0001_initial.py": {"quoted", "listed"},
    "postgres/commits.py": {
        "_FENCE",
        "name",
        "kind",
        "place",
        "', '.join((f'({row})' for row in rows))",
        "', '.join((name for name, _ in _EVENT_COLUMNS))",
        "', '.join((f'{name} {kind}' for name, kind in _EVENT_COLUMNS))",
        "', '.join((name for name, _ in _TASK_COLUMNS))",
        "', '.join((f'{name} {kind}' for name, kind in _TASK_COLUMNS))",
        "', '.join((name for name, _ in _NEW_COLUMNS))",
        "', '.join((f'%(task_{name})s::{kind}' for name, kind in _NEW_COLUMNS))",
    },
    "postgres/deliveries.py": {"FENCE"},
    "postgres/runs.py": {
        "', '.join(_COLUMNS)",
        "', '.join((f'%({name})s' for name in _COLUMNS))",
        "', '.join((f'{name} {kind}' for name, kind in _GIVEN))",
        "', '.join((f'g.{name}' for name in _COLUMNS))",
    },
    "postgres/texts.py": {"NOW", "since", "self.parts['events']"},
    "postgres/turns.py": {"_CLAIMED", "_VIEW"},
}
# Calls of str.format: of our own texts, filled with names of tables and with texts of our own.
FORMATS = {
    "postgres/texts.py": {"template.format(**self.parts, **more)"},
    "postgres/deliveries.py": {"part.format(**texts.parts)"},
    "postgres/runs.py": {"unless.format(**texts.parts)", "_LATEST.format(**texts.parts)"},
    "postgres/turns.py": {"_CLAIMS.format(**texts.parts)"},
}
# What SQLAlchemy is given as text: numbers, one of the clock's own expressions, and a word that was looked at.
LITERALS = {("tasks.py", "str(_NEVER)"), ("clock.py", "expression"), ("statements.py", "f\"'{value}'\"")}
# First arguments of what runs a statement, where they are no constant: Statement objects, or a text from a list above.
RUNS = {"execute", "executemany", "exec_driver_sql", "executescript"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def found(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield name, node


def raised(tree: ast.Module) -> set[int]:
    """Return the nodes that are part of messages: of exceptions, and of the log."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        told = isinstance(node, ast.Raise) or (
            isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"warning", "info", "debug"}
        )
        if told:
            inside |= {id(each) for each in ast.walk(node)}
    return inside


def test_only_names_and_words_of_our_own_are_put_into_a_text() -> None:
    strange = []
    for name, tree in modules():
        messages = raised(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.JoinedStr) or id(node) in messages:
                continue
            words = "".join(str(each.value) for each in node.values if isinstance(each, ast.Constant))
            if not any(each in words for each in SQL):
                continue
            parts = {ast.unparse(each.value) for each in node.values if isinstance(each, ast.FormattedValue)}
            strange += [(name, node.lineno, part) for part in parts - PARTS.get(name, set())]
    assert strange == []


def test_no_text_is_made_by_other_means() -> None:
    strange = []
    for name, node in found(ast.Call):
        assert isinstance(node, ast.Call)
        called = ast.unparse(node.func)
        if called.endswith(".format") and ast.unparse(node) not in FORMATS.get(name, set()):
            strange.append((name, ast.unparse(node)))
        # Not the stores' own text(), which makes a parameter.
        written = called in {"sa.text", "literal_column", "sa.literal_column"}
        if written and not isinstance(node.args[0], ast.Constant):
            whole = ast.unparse(node.args[0])
            strange += [(name, whole)] if (name, whole) not in LITERALS else []
    for name, node in found(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Mod) and not isinstance(node.left, (ast.Name, ast.Attribute)):
            strange.append((name, ast.unparse(node)))
    assert strange == []


def test_what_is_run_is_a_statement_or_stands_there_as_it_is() -> None:
    strange = []
    for name, node in found(ast.Call):
        assert isinstance(node, ast.Call)
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in RUNS or not node.args:
            continue
        first = node.args[0]
        if isinstance(first, (ast.JoinedStr, ast.BinOp, ast.Call)) and name != "migrations/versions/0001_initial.py":
            strange.append((name, ast.unparse(node)))
    assert strange == []


def test_a_word_is_one_of_ours() -> None:
    assert str(word("signal_received")) == "'signal_received'"
    for value in ("", "a'b", "a b", "a;b", "a--", "a\0"):
        with pytest.raises(ValueError, match="is no word"):
            word(value)


HOSTILE = st.sampled_from(
    [
        'x"; DROP TABLE celeriac_runs; --',
        "x'",
        "%s",
        "%(x)s",
        "x.y",
        "x;y",
        "x\0y",
        "x\ny",
        "{x}",
        "x`",
        "é",
        "\u202e",
        "?",
    ]
)


@given(HOSTILE, st.text(max_size=5))
def test_a_hostile_prefix_or_schema_is_refused_everywhere(hostile: str, around: str) -> None:
    name = around + hostile
    for call in (
        lambda: Settings.load(env={}, table_prefix=name),
        lambda: Settings.load(env={}, table_schema=name),
        lambda: make_tables(name),
        lambda: make_tables("celeriac_", name),
        lambda: SqlStore("sqlite://", table_prefix=name),
        lambda: SqlStore("sqlite://", schema=name),
        lambda: migrate("sqlite://", table_prefix=name),
        lambda: migrate("sqlite://", schema=name),
        lambda: current("sqlite://", table_prefix=name),
    ):
        with pytest.raises(ConfigurationError):
            call()


def test_a_name_that_is_long_or_empty_where_it_may_not_be_is_refused() -> None:
    for prefix in ("x" * 41, "x\n"):
        with pytest.raises(ConfigurationError, match=r"^table_prefix="):
            make_tables(prefix)
    for schema in ("", "x" * 64, " x", "x\n"):
        with pytest.raises(ConfigurationError, match=r"^schema="):
            make_tables("celeriac_", schema)
    assert make_tables("Wf_", "Work Flows-2").runs.fullname == "Work Flows-2.Wf_runs"
