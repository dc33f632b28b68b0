"""A folder of pictures: of each its checksum and three thumbnails, on whatever worker is free."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from celeriac import RetryPolicy, WorkflowContext
from celeriac.demo import ledger
from celeriac.demo.shop import durable

SIZES: Final = (96, 192, 384)
"""The longest sides of the thumbnails, in pixels."""


@dataclass
class Picture:
    """A picture and what was made of it.

    :param sha256: the checksum of the original.
    :param thumbnails: the files of the thumbnails, as many as :data:`SIZES`.
    """

    name: str
    sha256: str
    thumbnails: list[str]


@durable.activity(name="pictures.find", retry=RetryPolicy(max_attempts=None), timeout=timedelta(seconds=30))
def find(folder: str, most: int) -> list[str]:
    """Name the pictures in a folder."""
    with ledger.executing():
        found = (each for each in sorted(Path(folder).iterdir()) if each.suffix in {".png", ".jpg", ".jpeg"})
        return [str(each) for each in found][:most]


@durable.activity(name="pictures.checksum", retry=RetryPolicy(max_attempts=None), timeout=timedelta(seconds=30))
def checksum(picture: str) -> str:
    """Return a file's SHA-256."""
    with ledger.executing():
        return hashlib.sha256(Path(picture).read_bytes()).hexdigest()


@durable.activity(name="pictures.thumbnail", retry=RetryPolicy(max_attempts=None), timeout=timedelta(seconds=30))
def thumbnail(picture: str, size: int, folder: str) -> str:
    """Make a thumbnail and return its file. Made twice is made once: the finished file replaces another."""
    from PIL import Image  # noqa: PLC0415 - the shop's own tasks do without

    with ledger.executing():
        target = Path(folder, f"{Path(picture).stem}-{size}.png")
        unfinished = target.with_suffix(f".{os.getpid()}")
        with Image.open(picture) as image:
            small = image.convert("RGB")
        small.thumbnail((size, size))
        small.save(unfinished, "PNG", optimize=True)
        unfinished.replace(target)
        return str(target)


@durable.workflow(name="pictures.process")
async def process(ctx: WorkflowContext, folder: str, most: int, target: str) -> list[Picture]:
    """Work on all pictures of a folder at once."""
    found = await ctx.execute_activity(find, folder, most)
    return await asyncio.gather(*(_one(ctx, each, target) for each in found))


async def _one(ctx: WorkflowContext, picture: str, target: str) -> Picture:
    sha256, *thumbnails = await asyncio.gather(
        ctx.execute_activity(checksum, picture),
        *(ctx.execute_activity(thumbnail, picture, size, target) for size in SIZES),
    )
    return Picture(Path(picture).name, sha256, thumbnails)
