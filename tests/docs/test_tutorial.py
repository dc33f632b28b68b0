"""The first page of the tutorial, typed in by somebody who has nothing but the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, blocks
from tests.examples.project import Project, types

PAGE = DOCS / "tutorial" / "1-first-workflow.md"
FLOW = ["workflow_started", *["activity_scheduled", "activity_started", "activity_completed"] * 2, "workflow_completed"]


def _files() -> dict[str, str]:
    """Return the files that the page tells to write: each begins with its name, and goes on where the page does."""
    files: dict[str, str] = {}
    current = ""
    for block in blocks(PAGE, "python"):
        named = re.match(r"# (shop/\w+\.py)", block.text)
        if named:
            current = named[1]
            files[current] = block.text
        elif "@durable" in block.text:
            files[current] += "\n\n" + block.text
    return files


@pytest.mark.slow
@pytest.mark.acceptance
def test_the_first_page_leads_to_a_result(tmp_path: Path, redis_url: str) -> None:
    files = _files()
    assert sorted(files) == ["shop/celery.py", "shop/flows.py", "shop/tasks.py"]
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    for name, text in files.items():
        # The only thing that is not the page's: its Redis may have another port.
        (tmp_path / name).write_text(text.replace("redis://localhost:6379/0", redis_url))
    shop = Project(tmp_path, tmp_path, {})
    shop.celery("workflow", "migrate")
    with shop.worker() as worker:
        called = shop.celery("call", "shop.flows.fulfil", "--args", '["A-17", 4200]').strip()
        worker.wait_until_said("R-A-17, tracking-A-17")
        document = json.loads(shop.celery("workflow", "show", called, "--json"))
        plainly = shop.python("""
import json
from shop.flows import fulfil_plainly
print(json.dumps(fulfil_plainly.delay("A-18", 1).get(timeout=20)))
""")
    assert document["run"]["result"] == "R-A-17, tracking-A-17"
    assert types(document) == FLOW
    assert plainly == "R-A-18, tracking-A-18"
