"""Other releases of celeriac, as folders for PYTHONPATH: one that is a version of the tables ahead, and the one before this."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from celeriac.stores.sql.versioning import HEAD

REPOSITORY: Final = Path(__file__).parents[1]
LATER: Final = f"{int(HEAD) + 1:04}"
"""The version of the tables after this one."""
_REVISION: Final = """
import sqlalchemy as sa

from celeriac.stores.sql.migrations.online import add_column, add_index

revision = "{version}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("runs", sa.Column("later", sa.BigInteger))
    add_column("tasks", sa.Column("later", sa.BigInteger))
    add_index("runs_later", "runs", ["namespace", "updated_at"])
    add_index("tasks_later", "tasks", ["namespace", "started_at"])
"""


def later(folder: Path, version: str = LATER) -> Path:
    """Make a release whose tables have an index and a column more each, and return the folder.

    :param version: of its tables.
    """
    copied = folder / "celeriac"
    shutil.copytree(REPOSITORY / "celeriac", copied, ignore=shutil.ignore_patterns("__pycache__"))
    sql = copied / "stores" / "sql"
    text = _REVISION.format(version=version, before=HEAD)
    (sql / "migrations" / "versions" / f"{version}_later.py").write_text(text)
    source = (sql / "versioning.py").read_text()
    changed = re.sub(r'^HEAD: Final = "\d{4}"$', f'HEAD: Final = "{version}"', source, flags=re.MULTILINE)
    (sql / "versioning.py").write_text(changed)
    assert changed != source
    return folder


def python(folder: Path, program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program on a release."""
    env = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
