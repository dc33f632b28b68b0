"""The command line: ``celery -A proj workflow ...`` and ``celeriac ...``."""

from celeriac.cli.program import main
from celeriac.cli.workflow import workflow

__all__ = ["main", "workflow"]
