"""Every primitive takes on every Python the course that was recorded on the oldest.

To record a new program: ``python -m tests.runtime.test_primitives_golden`` on the oldest Python. It never overwrites:
what has been recorded stays true.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.driving import Drive
from tests.runtime.primitive_programs import PROGRAMS

GOLDEN = Path(__file__).parent / "golden" / "primitives"


def course(name: str) -> dict[str, Any]:
    drive = Drive()
    result = drive.run(PROGRAMS[name](drive.note))
    recorded = {
        "result": result,
        "journal": drive.journal,
        "errors": [e["message"] for e in drive.loop.errors],
    }
    drive.loop.close()
    return json.loads(json.dumps(recorded))  # type: ignore[no-any-return] # as it is after a trip through JSON


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_takes_the_recorded_course(name: str) -> None:
    assert course(name) == json.loads((GOLDEN / f"{name}.json").read_text())


def test_every_recording_has_its_program() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(PROGRAMS)


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 11):
        sys.exit("record on Python 3.11")
    for each in PROGRAMS:
        path = GOLDEN / f"{each}.json"
        if not path.exists():
            path.write_text(json.dumps(course(each), indent=1) + "\n")
