"""Wall clocks that are wrong, and jump, for single workers: a library of three functions that is preloaded into them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_suffix(".c")


def wrong_clock(file: Path) -> dict[str, str] | None:
    """Return what a process needs in its environment to take its time from here, or None where there is no C compiler.

    :param file: what :func:`jump` writes to; the library is put beside it.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = file.with_suffix(".so")
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True, capture_output=True
    )
    jump(file, 0)
    return {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(file)}


def jump(file: Path, seconds: float) -> None:
    """Have the clock of whoever has this file mapped be wrong by so much from now on."""
    with file.open(
        "r+b" if file.exists() else "w+b"
    ) as opened:  # the same file, or it would be another one than is mapped
        opened.write(struct.pack("=q", round(seconds * 1_000_000)))
