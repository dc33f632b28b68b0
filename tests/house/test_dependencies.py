"""What an installation without extras brings is enough where Redis is the broker and the result backend."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BARE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from celery import Celery
from celeriac import Celeriac

app = Celery("bare", broker="redis://127.0.0.1:1/0", backend="redis://127.0.0.1:1/0")
durable = Celeriac(app, store="sqlite://")
import celery.apps.worker, celeriac.cli, celeriac.signals.redis
print(type(app.connection_for_write().transport).__name__, type(app.backend).__name__, durable.settings.store)
"""


def brought() -> set[str]:
    """The distributions that celeriac's requirements lead to."""
    found: set[str] = set()
    todo = [("celeriac", frozenset({""}))]
    while todo:
        name, extras = todo.pop()
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            each = Requirement(line)
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append((canonicalize_name(each.name), frozenset({"", *each.extras})))
    return found


def test_redis_needs_nothing_that_an_installation_does_not_bring() -> None:
    owners = {name: {*map(canonicalize_name, each)} for name, each in metadata.packages_distributions().items()}
    bring = brought()
    absent = [name for name, each in owners.items() if each.isdisjoint(bring)]
    assert {"pytest", "psycopg", "django"} <= {*absent}
    ran = subprocess.run([sys.executable, "-c", BARE, *absent], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("Transport RedisBackend sqlite://\n", "")
