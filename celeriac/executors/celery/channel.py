"""A worker's ear on the channel of signals: what other programs publish there is recorded, if they may."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from celeriac.errors import CeleriacError, StoreUnavailable
from celeriac.executors.celery import forks
from celeriac.executors.celery.runtime import CeleryRuntime
from celeriac.orchestrator.client import new_id
from celeriac.orchestrator.executor import Signal
from celeriac.orchestrator.model import micros
from celeriac.orchestrator.ports import SignalBus
from celeriac.payloads import check_size
from celeriac.signals.messages import ChannelMessage, NotASignal, channel_of, read_message
from celeriac.signals.refusals import Refusals
from celeriac.signals.signing import Guard, Refusal, Unauthorized

_LOG: Final = logging.getLogger("celeriac.relay")

ELECTION: Final = 15.0
"""Seconds, at most, that a worker's office (a poller's place, the listener's) is held without being renewed."""
HEARD_MOST: Final = 60.0
"""Seconds that a signal from the bus waits for a store that is away."""
_SHOWN: Final = 100
"""How many characters of what a stranger wrote are logged."""


class SignalChannel:
    """Listens to the namespace's channel and records what is a signal.

    :param over: set when the worker is to stop.
    """

    def __init__(self, runtime: CeleryRuntime, hostname: str, over: threading.Event) -> None:
        self.runtime = runtime
        self.name = channel_of(runtime.namespace)
        self.refusals = Refusals(self.name)
        self._hostname = hostname
        self._over = over
        self._unlisten: Callable[[], None] | None = None
        settings = runtime.settings
        self._guard = (
            Guard(runtime.namespace, settings.signal_secrets, settings.signal_max_age.total_seconds())
            if settings.signal_secrets
            else None
        )

    def listen(self, bus: SignalBus) -> None:
        """Begin to listen."""
        self._unlisten = bus.listen([self.name], self._heard)

    def stop(self) -> None:
        """Listen no more."""
        if self._unlisten is not None:
            self._unlisten()

    def _heard(self, channel: str, text: str) -> None:
        """Record a signal that somebody published."""
        try:
            message = read_message(text)
        except NotASignal as error:
            if self._guard is None:  # whoever may publish is trusted, and wants to know of each slip
                _LOG.warning("a message on %s is no signal (%s): %.200r", channel, error, text)
            else:
                self.refusals.add(Refusal.UNREADABLE, f"it is no signal ({error}): {text[:_SHOWN]!r}")
            return
        if self._guard is None or self._passes(self._guard, message):
            self._record(message)

    def _passes(self, guard: Guard, message: ChannelMessage) -> bool:
        try:
            guard.check(message)
        except Unauthorized as error:
            which = f"signal {message.name[:_SHOWN]!r} for workflow {message.workflow_id[:_SHOWN]!r}"
            self.refusals.add(error.refusal, f"{error} ({which})")
            return False
        return True

    def _record(self, message: ChannelMessage) -> None:
        """Record it; with an id every listener may try, without one only the elected one."""
        signal = Signal(
            name=message.name,
            payload=message.payload,
            sender_id=message.sender_id,
            key=new_id() if message.id is None else message.id,
        )
        deadline, pause = time.monotonic() + HEARD_MOST, 0.1
        while not self._over.is_set():
            try:
                with forks.working():
                    if message.id is not None or self._is_the_listener():
                        self._deliver(message.workflow_id, signal)
            except StoreUnavailable as error:
                if time.monotonic() > deadline:
                    _LOG.warning("signal %r for workflow %r was lost: %s", message.name, message.workflow_id, error)
                    return
                self._over.wait(pause)
                pause = min(pause * 2, 2.0)
                continue
            except CeleriacError as error:
                _LOG.warning("signal %r for workflow %r was not taken: %s", message.name, message.workflow_id, error)
            return

    def _deliver(self, workflow_id: str, signal: Signal) -> None:
        client = self.runtime.client
        check_size(signal.payload, client.registry.max_payload, f"payload of signal {signal.name!r}")
        client.deliver_signal(workflow_id, signal)

    def _is_the_listener(self) -> bool:
        """Whether this worker is the one that records what has no id."""
        lease = f"{self.runtime.namespace}:channel"
        return self.runtime.store.hold_lease(lease, self._hostname, lease=micros(ELECTION))
