"""Renews the leases of everything that this process is running, without asking the code that runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from celeriac.orchestrator.model import Fence, Pulse, micros
from celeriac.orchestrator.ports import Store

_LOG: Final = logging.getLogger("celeriac.leases")

RENEWALS_PER_LEASE: Final = 3


class LeaseKeeper:
    """One thread a process, there while something runs, and one statement an interval for all of it.

    :param lease: seconds that a renewed lease holds.
    """

    def __init__(self, store: Callable[[], Store], lease: float) -> None:
        self._store = store
        self._lease = lease
        self._held: dict[Fence, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, fence: Fence, on_gone: Callable[[], None]) -> Iterator[None]:
        """Renew a claim while the block runs.

        :param on_gone: called from the thread when the claim turns out to be lost or its activity is no longer wanted.
        """
        self._held[fence] = on_gone
        self._something.set()
        if self._thread is None or not self._thread.is_alive():
            self._start()
        try:
            yield
        finally:
            self._held.pop(fence, None)

    def after_fork(self) -> None:
        """Forget the parent's thread and claims."""
        self._held = {}
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._thread = None

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._renew_for_ever, name="celeriac-leases", daemon=True)
                self._thread.start()

    def _renew_for_ever(self) -> None:
        pause = threading.Event()
        while True:
            self._something.wait()
            pause.wait(self._lease / RENEWALS_PER_LEASE)
            held = dict(self._held)
            if not held:
                self._something.clear()
                if self._held:
                    self._something.set()
                continue
            try:
                found = self._store().renew(list(held), lease=micros(self._lease))
            except Exception:  # noqa: BLE001 - whatever is wrong with the store, the next round may find it well
                _LOG.warning("leases could not be renewed; trying again", exc_info=True)
                continue
            for fence, pulse in found.items():
                if pulse is not Pulse.ALIVE and fence in self._held:
                    _tell(held[fence], fence)


def _tell(on_gone: Callable[[], None], fence: Fence) -> None:
    try:
        on_gone()
    except Exception:  # noqa: BLE001 - the thread renews the claims of others too
        _LOG.warning("the claim of %s could not be looked after; trying again", fence.run_id, exc_info=True)
