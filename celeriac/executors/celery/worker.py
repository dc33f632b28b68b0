"""The bootstep: one relay and one listener a worker, started after the pool has forked, never in the way of other tasks."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

from celery import bootsteps, signals

from celeriac.errors import CeleriacError
from celeriac.executors.celery import control, events, forks, leaving, precautions
from celeriac.executors.celery.activities import serve
from celeriac.executors.celery.channel import ELECTION, SignalChannel
from celeriac.executors.celery.hints import HintPipe
from celeriac.executors.celery.internal import INTERNAL
from celeriac.executors.celery.runtime import CeleryRuntime, runtime_of
from celeriac.executors.celery.workflows import WorkflowTask
from celeriac.orchestrator.model import SECOND, micros

_LOG: Final = logging.getLogger("celeriac.relay")

TROUBLE_MOST: Final = 10.0
"""Seconds, at most, between looks at a store that is away."""


def prepare(runtime: CeleryRuntime) -> None:
    """Wrap every task of the app that may be an activity; before the worker builds its tracers."""
    for name, task in runtime.app.tasks.items():
        if not name.startswith("celery.") and name not in INTERNAL and not isinstance(task, WorkflowTask):
            serve(task, runtime)


def preload(runtime: CeleryRuntime) -> None:
    """Make the engine before the pool forks: its children then share the imported modules and prepared statements.

    Opens no connection. What can't be made now, for want of a driver or a setting, says so and is tried again when needed.
    """
    try:
        _ = runtime.relay, runtime.client, runtime.bus  # the bus, so that what is wrong with it is said once
    except Exception as error:  # noqa: BLE001 - whatever is wrong with durable workflows, other tasks go on
        _LOG.warning("durable workflows are not ready: %s", error)


class CeleriacStep(bootsteps.StartStopStep):
    """Relay and listener of one worker. Without a store that works, everything else goes on as if it were not there."""

    requires = ("celery.worker.components:Pool",)
    label = "Celeriac"
    name = "celeriac"

    def __init__(self, worker: Any, without_celeriac: bool = False, **options: Any) -> None:  # noqa: FBT001, FBT002 - celery's
        super().__init__(worker, **options)
        self.enabled = not without_celeriac
        self._threads: WorkerThreads | None = None
        runtime = runtime_of(worker.app)
        runtime.worker_pool = _pool_name(worker)
        runtime.hostname = worker.hostname
        runtime.pipe = HintPipe() if self.enabled else None
        runtime.stopping.share()
        self._stopping = runtime.stopping
        signals.worker_shutting_down.connect(self._told_to_stop, weak=True)
        events.share(worker.app, wanted=bool(getattr(worker, "task_events", False)))
        # Also without the threads: whatever message comes is carried out as it must be.
        control.install_in_worker()
        events.install_in_worker()
        prepare(runtime)
        preload(runtime)
        forks.install()
        leaving.install()

    def _told_to_stop(self, **_: Any) -> None:
        self._stopping.put(up=True)

    def start(self, worker: Any) -> None:
        """Start the threads."""
        if self.enabled:
            precautions.warn(runtime_of(worker.app), worker.hostname)
            self._threads = WorkerThreads(runtime_of(worker.app), worker.hostname)
            self._threads.start()

    def stop(self, _worker: Any) -> None:
        """Stop the threads; what they were about is due in the store."""
        if self._threads is not None:
            self._threads.stop()
            self._threads = None

    terminate = stop

    def info(self, _worker: Any) -> dict[str, Any]:
        """Return what ``celery inspect stats`` shows."""
        return {} if self._threads is None else {"celeriac": {"signals_refused": self._threads.refused}}


def _pool_name(worker: Any) -> str:
    pool = worker.pool_cls
    module = pool if isinstance(pool, str) else pool.__module__
    return {"processes": "prefork"}.get(
        module.rsplit(".", 1)[-1].split(":")[0], module.rsplit(".", 1)[-1].split(":")[0]
    )


class WorkerThreads:
    """The relay's thread, and the listener on the signal bus."""

    def __init__(self, runtime: CeleryRuntime, hostname: str) -> None:
        self.runtime = runtime
        self.hostname = hostname
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="celeriac-relay", daemon=True)
        self._channel: SignalChannel | None = None
        self._place: int | None = None
        self._candidate = -1
        self._elected_at = 0.0
        self._store_seen_at = time.monotonic()

    @property
    def refused(self) -> dict[str, int]:
        """How many messages on the channel of signals were refused, by reason."""
        return {} if self._channel is None else self._channel.refusals.counts

    def start(self) -> None:
        """Start both."""
        self._thread.start()

    def stop(self) -> None:
        """Ask both to stop and wait a moment for them."""
        self._over.set()
        if self.runtime.pipe is not None:
            self.runtime.pipe.tell(0)
        if self._channel is not None:
            self._channel.stop()
        self._thread.join(2.0)

    # -- the relay -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        trouble = 0.0
        ready = False
        while not self._over.is_set():
            try:
                if not ready:
                    with forks.working():
                        self._open()
                    ready = True
                if trouble:
                    self._let_others_renew()
                    trouble = 0.0
                with forks.working():
                    pause = self._look()
                self._sleep(pause)
            except Exception as error:  # noqa: BLE001 - a store that is away must never stop a worker
                told = isinstance(error, CeleriacError)
                _LOG.warning("durable workflows wait for the store: %s", error, exc_info=not told)
                trouble = min(trouble * 2, TROUBLE_MOST) or 0.5
                self._over.wait(trouble)

    def _open(self) -> None:
        runtime = self.runtime
        runtime.store.check()
        runtime.store.wake_blocked(runtime.namespace)
        _LOG.info("durable workflows: namespace %s, store ready", runtime.namespace)
        if self._channel is None and runtime.bus is not None and runtime.settings.accept_channel_signals:
            self._channel = SignalChannel(runtime, self.hostname, self._over)
            self._channel.listen(runtime.bus)

    def _let_others_renew(self) -> None:
        """Find the store back. Leases that ran out while nobody could renew them say nothing of those who hold them."""
        half = self.runtime.settings.lease.total_seconds() / 2
        with forks.working():
            self.runtime.store.now()
        if time.monotonic() - self._store_seen_at > half:
            self._over.wait(half)

    def _look(self) -> float:
        """Handle what is due, and return the seconds until the next thing is."""
        relay, store = self.runtime.relay, self.runtime.store
        if self._elected():
            while relay.tick() >= relay.batch and not self._over.is_set():
                pass
            due = relay.next_due()
            pause = self.runtime.settings.relay_interval_max.total_seconds()
            if due is not None:
                pause = min(pause, max((due - store.now()) / SECOND, 0.0))
        else:
            pause = self._term / 3
        self._store_seen_at = time.monotonic()
        return pause

    def _sleep(self, pause: float) -> None:
        """Sleep at most ``pause`` seconds; a hint of something due sooner cuts it short, one due soon is waited for."""
        pipe = self.runtime.pipe
        if pipe is None:
            self._over.wait(pause)
            return
        end = time.monotonic() + pause
        while not self._over.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return
            hints = [each for each in pipe.wait(left) if each]
            if hints:
                with forks.working():
                    due_in = max((min(hints) - self.runtime.store.now()) / SECOND, 0.0)
                if time.monotonic() + due_in < end:
                    end = time.monotonic() + due_in
                    self._place = self._place if self._place is not None else -1

    def _elected(self) -> bool:
        """Whether this worker is one of the few that poll; one that was given a hint looks once in any case."""
        if self._place == -1:
            self._place = None
            return True
        now = time.monotonic()
        if self._place is not None and now - self._elected_at < self._term / 3:
            return True
        place = self._place
        if place is None:  # another one each time: those who wait for a place are many, and must not cost much
            place = self._candidate = (self._candidate + 1) % self.runtime.settings.relay_pollers
        held = self.runtime.store.hold_lease(
            f"{self.runtime.namespace}:relay:{place}", self.hostname, lease=micros(self._term)
        )
        self._place, self._elected_at = place if held else None, now
        return held

    @property
    def _term(self) -> float:
        """Seconds that a place is held without being renewed: so short that the places of dead workers are taken over
        before the leases of what those were running have run out.
        """
        return min(ELECTION, self.runtime.settings.lease.total_seconds() / 2)
