"""Plays the demo and passes judgement."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.demo.play import Play
from celeriac.demo.screen import Screen
from celeriac.demo.stage import Stage
from celeriac.demo.verdict import Verdict, done_again, judge
from celeriac.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from celeriac.orchestrator.events import HistoryEvent
    from celeriac.orchestrator.model import Run

    ShowRun = Callable[[Run, Sequence[HistoryEvent]], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the demo went.

    :param seconds: how long it took.
    :param interrupted: what the killed worker was about.
    :param wrong: what is not right with what came after the kill.
    """

    verdicts: Sequence[Verdict]
    seconds: float
    interrupted: Sequence[str]
    wrong: Sequence[str]
    folder: Path

    @property
    def passed(self) -> bool:
        """Whether all is right."""
        return not self.wrong and all(each.passed for each in self.verdicts)


def run_demo(
    console: Console, show: ShowRun, *, images: Path | None = None, most: int = 12, keep: bool = False
) -> Outcome:
    """Play the demo.

    :param show: shows a run with its history, once all is over.
    :param images: a folder of pictures; None takes those that come with scikit-image.
    :param most: how many of them are worked on.
    :param keep: leave the folder with logs, store and thumbnails behind.
    :raises MissingExtra: Pillow, or the pictures, are not installed.
    :raises ConfigurationError: no such folder, or there is no Redis server on this machine.
    :raises DemoFailed: it came to no end.
    """
    with Stage(find_pictures(images), keep=keep) as stage:
        with Screen(console) as screen:
            play = Play(stage, screen, most=most)
            play.perform()
            seconds = screen.seconds
        for each in play.runs.values():
            show(play.client.describe(each.run.run_id), play.client.store.history(each.run.run_id))
        interrupted = [f"{each.name} on {each.worker}" for each in play.interrupted]
        try:
            return Outcome(judge(play), seconds, interrupted, done_again(play), stage.folder)
        finally:
            play.client.store.close()


def find_pictures(images: Path | None) -> Path:
    """Return the folder of pictures to work on.

    :raises MissingExtra: what the pictures come with, or Pillow, is not installed.
    :raises ConfigurationError: no such folder, or none in it.
    """
    if importlib.util.find_spec("PIL") is None:
        raise MissingExtra("the demo, which makes thumbnails with Pillow,", "demo")
    if images is None:
        found = importlib.util.find_spec("skimage")
        if found is None or not found.submodule_search_locations:
            raise MissingExtra("the demo, whose pictures come with scikit-image (or from --images FOLDER),", "demo")
        images = Path(found.submodule_search_locations[0], "data")
    if not images.is_dir():
        raise ConfigurationError(f"{images} is no folder")
    if not any(each.suffix in {".png", ".jpg", ".jpeg"} for each in images.iterdir()):
        raise ConfigurationError(f"there is no .png, .jpg or .jpeg in {images}")
    return images.resolve()
