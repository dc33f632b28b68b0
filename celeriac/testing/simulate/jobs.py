"""A search in several processes: each takes a few hundred seeds and ends, and with it goes all that it has left lying.

That costs less than to collect it: a seventh of a long search goes into freeing what nobody will need again.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final, TypeAlias, cast

from celeriac.stores.memory import InMemoryStore
from celeriac.testing.simulate.report import Report, simulate

MOST_SEEDS: Final = 200
"""How many seeds one process takes: its memory grows by a third of a megabyte with each."""
PATIENCE: Final = 10.0
"""Seconds that an interrupted search waits for what its processes have found."""
Pipes: TypeAlias = dict[Connection, BaseProcess]


def search(
    seeds: Iterable[int],
    report: Report,
    *,
    store: type[InMemoryStore],
    jobs: int,
    stop_after: int,
    whole_trace: bool,
    on_progress: Callable[[Report], None],
    most_seeds: int = MOST_SEEDS,
) -> None:
    """Do what :func:`simulate` does, in ``jobs`` processes at a time.

    :param report: what has come of it so far, also when the search is interrupted.
    :param most_seeds: how many seeds one process takes.
    """
    pipes: Pipes = {}
    chunks = _chunks(seeds, most_seeds)
    try:
        while True:
            for chunk in itertools.islice(chunks, jobs - len(pipes)):
                _begin(pipes, chunk, store, stop_after, whole_trace)
            if not pipes:
                return
            interrupted = _gather(pipes, report, None)
            on_progress(report)
            if interrupted or len(report.found) >= stop_after:
                return
    except KeyboardInterrupt:
        while pipes and _gather(pipes, report, PATIENCE) is not None:
            pass
    finally:
        for process in pipes.values():
            process.terminate()
            process.join()


def _chunks(seeds: Iterable[int], most: int) -> Iterator[list[int]]:
    seeds = iter(seeds)
    while chunk := list(itertools.islice(seeds, most)):
        yield chunk


def _begin(pipes: Pipes, chunk: list[int], store: type[InMemoryStore], stop_after: int, whole_trace: bool) -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_work, args=(theirs, chunk, store, stop_after, whole_trace))
    process.start()
    theirs.close()
    pipes[ours] = process


def _work(pipe: Connection, chunk: list[int], store: type[InMemoryStore], stop_after: int, whole_trace: bool) -> None:
    report, interrupted = Report(), True
    gc.disable()
    with suppress(KeyboardInterrupt):
        simulate(
            chunk,
            store=store,
            stop_after=stop_after,
            whole_trace=whole_trace,
            into=report,
            collect_every=len(chunk) + 1,
        )
        interrupted = False
    report.seconds = time.process_time()  # all of it, the beginning of the process too
    pipe.send((report, interrupted))


def _gather(pipes: Pipes, report: Report, timeout: float | None) -> bool | None:
    """Add what the next process to end has found, and say whether it was interrupted; None when none ends in time.

    :raises RuntimeError: it ended without a word.
    """
    for pipe in wait(list(pipes), timeout):
        pipe = cast(Connection, pipe)
        process = pipes.pop(pipe)
        try:
            found, interrupted = pipe.recv()
        except EOFError:
            process.join()
            raise RuntimeError(f"a process of the search has ended with {process.exitcode} and told nothing") from None
        process.join()
        report.add(found)
        return bool(interrupted)
    return None
