"""``python -m tests.linear --store postgresql --seconds 600``: session after session, with lost answers in every second one."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import click
from sqlalchemy import make_url

from celeriac.stores.sql import migrate
from tests.linear.session import processes_for, session
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer
from tests.stores.proxy import Proxy


@contextmanager
def _store(kind: str) -> Iterator[str]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder, 'store.db')}"
    else:
        with PostgresServer() if kind == "postgresql" else MariaServer() as server:
            yield server.create_database()


@click.command()
@click.option(
    "--store", type=click.Choice(["sqlite", "postgresql", "mariadb"]), default="postgresql", show_default=True
)
@click.option("--seconds", default=60.0, show_default=True, help="Begin no further session after so long.")
@click.option("--seeds", type=int, help="No more sessions than these.")
@click.option("--start", default=1, show_default=True, help="The first seed.")
@click.option("--portable", is_flag=True, help="The path that all databases share, also on PostgreSQL.")
def main(*, store: str, seconds: float, seeds: int | None, start: int, portable: bool) -> None:
    """Have two processes of three threads use one store, and check what they saw. A seed fixes what is called, not who is first."""
    begun, histories, calls, unknown, tried = time.monotonic(), 0, 0, 0, 0
    with _store(store) as url, processes_for(2) as pool:
        migrate(url)
        for seed in count(start):
            if time.monotonic() - begun > seconds or (seeds is not None and seed - start >= seeds):
                break
            port = make_url(url).port
            lossy = port is not None and seed % 2 == 0
            if lossy and port is not None:
                with Proxy(port) as proxy:
                    through = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
                    found = session(through, seed, fast_path=not portable, proxy=proxy, pool=pool)
            else:
                found = session(url, seed, fast_path=not portable, pool=pool)
            histories, calls = histories + found.histories, calls + found.calls
            unknown, tried = unknown + found.unknown, tried + found.tried
            for wrong in found.wrong:
                click.echo(f"seed {seed} is not linearizable: {wrong}")
            if found.wrong:
                sys.exit(1)
    click.echo(
        f"{store}: {histories} histories of {calls} calls, {unknown} of them with lost answers, are linearizable "
        f"({tried} states tried, {time.monotonic() - begun:.0f} s)"
    )


if __name__ == "__main__":
    main()
