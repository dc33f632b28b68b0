"""The bus reaches the app's Redis in each way in which Celery reaches it, and a listener outlives what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError, RedisError  # noqa: A004 - redis-py has its own

from celeriac import Celeriac
from celeriac.embedded import EmbeddedRedis, free_port
from celeriac.signals.redis import RedisBus
from tests.celery_edge.harness import eventually

CHANNEL = "celeriac:shop:signals"


class Relay:
    """Stands in front of a Redis and speaks TLS, or listens on a socket, since not every build of Redis does the first.

    :param where: what ``start_server`` or ``start_unix_server`` takes.
    """

    def __init__(self, redis_port: int, **where: Any) -> None:
        self._redis_port = redis_port
        self._where = where
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        start = asyncio.start_unix_server if "path" in self._where else asyncio.start_server
        server = await start(self._pass_on, **self._where)
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", self._redis_port)
        await asyncio.gather(self._copy(reader, behind[1]), self._copy(behind[0], writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the loopback interface that nobody but itself has signed, and its key, in one file."""
    if shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("openssl is not there")
        pytest.skip("openssl is not there")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(shlex.split(command), cwd=folder, check=True, capture_output=True, timeout=60)
    (folder / "both.pem").write_text((folder / "k.pem").read_text() + (folder / "c.pem").read_text())
    return folder / "c.pem"


@pytest.fixture(scope="module")
def tls(redis_server: EmbeddedRedis, certificate: Path) -> Iterator[str]:
    """The URL of the Redis by TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.with_name("both.pem"))
    port = free_port()
    relay = Relay(redis_server.port, host="127.0.0.1", port=port, ssl=context)
    yield f"rediss://127.0.0.1:{port}/0"
    relay.stop()


@pytest.fixture
def bus_of(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """The bus of an app with this broker and these settings."""
    made: list[tuple[Celery, Celeriac]] = []
    others = _listeners()  # of apps that other modules have imported

    def make(broker: Any, *, backend: str | None = None, signals_url: str | None = None, **conf: Any) -> Any:
        app = Celery(f"bus{len(made)}", broker=broker, backend=backend, set_as_current=False)
        app.conf.update(conf)
        made.append((app, Celeriac(app, store="memory://", signals_url=signals_url)))
        return made[-1][1].runtime.bus

    yield make
    for app, durable in made:
        durable.close()
        app.close()
    eventually(lambda: _listeners() <= others)


def _listeners() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "celeriac-listener"}


def works(bus: Any) -> None:
    """See that what is published is heard."""
    heard: list[tuple[str, str]] = []
    stop = bus.listen([CHANNEL], lambda *message: heard.append(message))

    def publish() -> list[tuple[str, str]]:
        bus.publish(CHANNEL, "a text")
        return heard

    try:
        assert eventually(publish, patience=10)[0] == (CHANNEL, "a text")
    finally:
        stop()


def warnings(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "celeriac.signals" and each.levelno == level]


@pytest.mark.parametrize(
    "spelling",
    [
        "ssl_cert_reqs=CERT_NONE",
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={ca}",
        "ssl_cert_reqs=required&ssl_ca_certs={ca}",
    ],
)
@pytest.mark.parametrize("where", ["broker", "backend", "signals_url"])
def test_tls_by_the_url(bus_of: Callable[..., Any], tls: str, certificate: Path, spelling: str, where: str) -> None:
    url = f"{tls}?{spelling.format(ca=certificate)}"
    works(bus_of(**{"broker": "memory://", where: url}))


@pytest.mark.parametrize("where", ["broker", "backend"])
def test_tls_by_the_settings(bus_of: Callable[..., Any], tls: str, certificate: Path, where: str) -> None:
    given = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": str(certificate)}
    name = {"broker": "broker_use_ssl", "backend": "redis_backend_use_ssl"}[where]
    works(bus_of(**{"broker": "memory://", where: tls, name: given}))


def test_a_certificate_that_is_not_trusted(bus_of: Callable[..., Any], tls: str) -> None:
    with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        bus_of(f"{tls}?ssl_cert_reqs=CERT_REQUIRED").publish(CHANNEL, "a text")


@pytest.mark.parametrize("where", ["broker", "backend", "signals_url"])
def test_a_socket(bus_of: Callable[..., Any], redis_server: EmbeddedRedis, tmp_path: Path, where: str) -> None:
    path = tmp_path / "s"
    relay = Relay(redis_server.port, path=str(path))
    scheme = "unix" if where == "signals_url" else "redis+socket"
    works(bus_of(**{"broker": "memory://", where: f"{scheme}://{path}"}))
    relay.stop()


def test_brokers_in_turn(bus_of: Callable[..., Any], redis_url: str) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    works(bus_of(f"{redis_url};{nobody}"))
    works(bus_of(f"{nobody};{redis_url}"))
    works(bus_of([nobody, redis_url]))


def test_when_the_first_broker_goes_the_second_is_taken(bus_of: Callable[..., Any], redis_url: str) -> None:
    heard: list[str] = []
    with EmbeddedRedis() as first:
        bus = bus_of(f"{first.url};{redis_url}")
        stop = bus.listen([CHANNEL], lambda _channel, text: heard.append(text))
        eventually(lambda: (bus.publish(CHANNEL, "one"), heard)[1])
        first.stop()
        eventually(lambda: (bus.publish(CHANNEL, "two"), "two" in heard)[1])
        stop()


class Known(CredentialProvider):
    """Knows a user and a password."""

    def get_credentials(self) -> tuple[str, str]:
        return "till", "till's password"


class Broken(CredentialProvider):
    """Has forgotten them for now."""

    broken = True

    def get_credentials(self) -> tuple[str, str]:
        if Broken.broken:
            raise RuntimeError("no token\ntoday")
        return "till", "till's password"


@pytest.fixture
def with_users(redis_url: str) -> Iterator[str]:
    import redis

    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "till", "on", ">till's password", "allkeys", "allchannels", "+@all")
        yield redis_url
        admin.execute_command("ACL", "DELUSER", "till")


@pytest.mark.parametrize("where", ["broker", "backend", "signals_url"])
def test_a_credential_provider(bus_of: Callable[..., Any], with_users: str, where: str) -> None:
    works(bus_of(**{"broker": "memory://", where: f"{with_users}?credential_provider={__name__}.Known"}))


def test_a_listener_outlives_a_broken_credential_provider(
    bus_of: Callable[..., Any], with_users: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "celeriac.signals")
    Broken.broken = True
    heard: list[str] = []
    bus = bus_of(f"{with_users}?credential_provider={__name__}.Broken")
    stop = bus.listen([CHANNEL], lambda _channel, text: heard.append(text))
    eventually(lambda: len(warnings(caplog, logging.INFO)) >= 2)
    said = f"listening on {CHANNEL} was interrupted: RuntimeError: no token today"
    assert warnings(caplog) == [said]
    assert set(warnings(caplog, logging.INFO)) == {said}
    Broken.broken = False
    eventually(lambda: (bus.publish(CHANNEL, "a text"), heard)[1])
    stop()


@pytest.mark.parametrize(
    "url", ["redis://:hunter2@127.0.0.1:1/0?credential_provider=no.such.Provider", "redis://:hunter2:x/y@127.0.0.1/0"]
)
@pytest.mark.parametrize("where", ["broker", "signals_url"])
def test_a_url_that_leads_nowhere_is_told_of_once_and_without_its_password(
    bus_of: Callable[..., Any], caplog: pytest.LogCaptureFixture, url: str, where: str
) -> None:
    caplog.set_level(logging.INFO, "celeriac.signals")
    stop = bus_of(**{"broker": "memory://", where: url}).listen([CHANNEL], lambda *_: None)
    eventually(lambda: len(warnings(caplog, logging.INFO)) >= 2)
    stop()
    (said,) = warnings(caplog)
    assert said.startswith(f"listening on {CHANNEL} was interrupted: ")
    assert "hunter2" not in caplog.text


def test_a_listener_tells_of_each_first_failure(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "celeriac.signals")
    with EmbeddedRedis() as server:
        bus = RedisBus(server.url)
        heard: list[str] = []
        stop = bus.listen([CHANNEL], lambda _channel, text: heard.append(text))
        for count in (1, 2):
            heard.clear()
            eventually(lambda: published(bus) and heard)
            server.stop()
            eventually(lambda: len(warnings(caplog)) == count)  # noqa: B023 - called here
            server.start()
        stop()
        bus.close()


def published(bus: RedisBus) -> bool:
    try:
        bus.publish(CHANNEL, "a text")
    except (OSError, RedisError):
        return False
    return True


def test_sentinels_are_refused_once(bus_of: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert bus_of("sentinel://127.0.0.1:26379;sentinel://127.0.0.1:26380") is None
    assert warnings(caplog) == [
        "the signal bus knows no Redis Sentinel: there is no bus unless celeriac_signals_url names a Redis"
    ]


def test_options_of_the_broker(bus_of: Callable[..., Any], redis_url: str) -> None:
    options = {"global_keyprefix": "shop:", "health_check_interval": 7, "max_connections": 1, "socket_timeout": 60}
    bus = bus_of(redis_url, broker_transport_options=options)
    works(bus)
    given = bus._client(0).connection_pool.connection_kwargs
    assert (given["health_check_interval"], given["socket_timeout"]) == (7, 2.0)
    works(RedisBus(redis_url))
