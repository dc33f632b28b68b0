"""The front door: attaches celeriac to a Celery app and declares workflows, activities and signals on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import click
from celery import Celery

from celeriac.activities.definition import ActivityDefinition
from celeriac.durations import Duration
from celeriac.errors import ConfigurationError
from celeriac.executors.celery import control, forbidden, internal, queues
from celeriac.executors.celery.consuming import ConsumeLightly
from celeriac.executors.celery.declaring import declare_activity, declare_workflow
from celeriac.executors.celery.openbus import open_bus
from celeriac.executors.celery.reconnecting import OutliveTheBroker
from celeriac.executors.celery.registry import OPTIONS, NamedActivity
from celeriac.executors.celery.runtime import CeleryRuntime, attach, runtime_of
from celeriac.executors.celery.unknown import LeaveToOthers
from celeriac.executors.celery.worker import CeleriacStep
from celeriac.executors.celery.workflows import WorkflowTask
from celeriac.orchestrator.client import Client
from celeriac.orchestrator.executor import Config, WorkflowHandle, register, signal_of
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.signals import SignalType
from celeriac.shared import declare_shared

if TYPE_CHECKING:
    from celeriac.config.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Celeriac:
    """Durable workflows on a Celery app.

    Attaching neither reads the app's configuration nor finalizes the app; settings are read when first needed: keyword
    arguments here win over ``app.conf`` (``celeriac_store`` and so on), which wins over the environment (``CELERIAC_STORE``).

    :param app: the Celery app, new or with all its tasks.
    :param store: URL of the store, such as ``postgresql+psycopg://localhost/shop`` or ``sqlite:///flows.db``; or a store.
    :param hooks: what to call when something happens to workflows.
    :param settings: any other setting of :class:`celeriac.config.settings.Settings`.
    :raises ConfigurationError: celeriac is attached to this app already.
    """

    def __init__(
        self, app: Celery, store: str | Store | None = None, *, hooks: Hooks | None = None, **settings: Any
    ) -> None:
        self.app = app
        given = store if store is not None and not isinstance(store, str) else None
        if isinstance(store, str):
            settings["store"] = store
        self._explicit = settings
        self.runtime = CeleryRuntime(
            app,
            load=self._load_settings,
            open_store=lambda found: given if given is not None else _open_store(found),
            open_bus=open_bus,
        )
        if hooks is not None:
            self.runtime.hooks = hooks
        attach(app, self.runtime)
        app.__dict__["celeriac"] = self
        internal.declare(app)
        control.install(app)
        forbidden.install()
        queues.install(app, self._queue)
        app.steps["worker"].add(CeleriacStep)
        app.steps["consumer"].update((ConsumeLightly, LeaveToOthers, OutliveTheBroker))
        app.user_options["worker"].add(
            click.Option(
                ("--without-celeriac",), is_flag=True, help="Run no relay and no listener of durable workflows here."
            )
        )
        declare_shared(app)

    def _queue(self, name: str) -> dict[str, str] | None:
        """Route what the app's own routes leave open: workflows and declared activities have queues by settings."""
        task = self.app.tasks.get(name)
        if isinstance(task, WorkflowTask):
            queue = task.celeriac_settings.queue or self.settings.workflow_queue
        elif getattr(task, OPTIONS, None) is not None:
            queue = self.settings.activity_queue
        else:
            return None
        return None if queue is None else {"queue": queue}

    def _load_settings(self) -> Settings:
        from celeriac.config.settings import Settings  # noqa: PLC0415 - a tenth of a second, which attaching need not cost

        conf = self.app.conf
        known = {key: conf[key] for key in conf}
        # Celery looks a name up under the namespace that the configuration was read with, whatever that is.
        named = {f"celeriac_{name}": conf.get(f"celeriac_{name}") for name in Settings.model_fields}
        return Settings.load(
            {**known, **{key: value for key, value in named.items() if value is not None}}, **self._explicit
        )

    # -- declaring -----------------------------------------------------------------------------------------------------

    @overload
    def workflow(self, fn: Callable[..., T]) -> WorkflowTask: ...
    @overload
    def workflow(
        self,
        *,
        name: str | None = None,
        version: str = "",
        timeout: Duration | None = None,
        queue: str | None = None,
        blocks_on: tuple[type[BaseException], ...] = (),
        signals: Sequence[SignalType[Any]] = (),
        **task_options: Any,
    ) -> Callable[[Callable[..., Any]], WorkflowTask]: ...

    def workflow(self, fn: Any = None, **options: Any) -> Any:
        """Declare a workflow: a Celery task under the function's name (decorator).

        :param name: another name.
        :param version: the version of the definition; open runs stay with the one that started them.
        :param timeout: the longest a run may take (timedelta or seconds).
        :param queue: the queue of its turns, instead of Celery's routing.
        :param blocks_on: exception types that hold a run instead of failing it.
        :param signals: the signals it takes; others are refused at the sender.
        """
        if fn is None:
            return functools.partial(self.workflow, **options)
        return declare_workflow(self.app, fn, options)

    @overload
    def activity(self, fn: Callable[P, T]) -> Callable[P, T]: ...
    @overload
    def activity(self, **options: Any) -> Callable[[Callable[P, T]], Callable[P, T]]: ...

    def activity(self, fn: Any = None, **options: Any) -> Any:
        """Declare an activity: a Celery task whose messages carry ids only (decorator). ``async def`` is welcome.

        :param name: a name other than the function's.
        :param retry: a :class:`RetryPolicy`.
        :param timeout: the longest one attempt may take (``start_to_close``; timedelta or seconds).
        :param schedule_to_close, schedule_to_start, heartbeat: the other timeouts.
        :param queue: the queue, instead of Celery's routing.
        :param cancellation: ``try``, ``wait`` or ``abandon``.

        Anything else is an option of the Celery task (``rate_limit``, ``bind``, ``acks_late`` ...).
        """
        if fn is None:
            return functools.partial(self.activity, **options)
        return declare_activity(self.app, fn, options)

    @overload
    def signal_type(self, name: str) -> SignalType[Any]: ...
    @overload
    def signal_type(self, name: str, annotation: type[T]) -> SignalType[T]: ...
    @overload
    def signal_type(self, name: str, annotation: Any) -> SignalType[Any]: ...

    def signal_type(self, name: str, annotation: Any = Any) -> SignalType[Any]:
        """Declare a signal's name and the type of its payload."""
        declared: SignalType[Any] = SignalType(name, annotation)
        self.runtime.registry.signals[name] = declared
        return declared

    def options(self, task: Any, **overrides: Any) -> ActivityDefinition | NamedActivity:
        """Return an activity with other options, for ``ctx.execute_activity``: also of a task that is not declared as one.

        :param task: a declared activity, any task, or a task's name.
        :raises InvalidCall: an option that does not exist.
        """
        if isinstance(task, str):  # looked up when it is needed: to look now would finalize the app
            return NamedActivity(task, overrides)
        return self.runtime.registry.activity(task).with_options(overrides)

    def autodiscover(self, packages: Sequence[str] | None = None, related_name: str = "workflows") -> None:
        """Import the modules ``workflows`` of packages when the app is loaded, as ``app.autodiscover_tasks`` does ``tasks``.

        :param packages: the packages; None for those that the app's fixups know (in Django the installed apps).
        """
        self.app.autodiscover_tasks(packages, related_name=related_name)

    # -- using ---------------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings, read when first asked for."""
        return self.runtime.settings

    @property
    def client(self) -> Client:
        """Every operation on runs."""
        return self.runtime.client

    @property
    def executor(self) -> Client:
        """The same, as the executor interface."""
        return self.runtime.client

    def handle(self, workflow_id: str) -> WorkflowHandle[Any]:
        """Return a handle on the latest run with this workflow id.

        :raises WorkflowNotFound: there is none.
        """
        return self.client.handle(workflow_id)

    def start_many(self, workflow: Any, starts: Iterable[Any], *, return_exceptions: bool = False) -> Sequence[Any]:
        """Start a workflow many times, and return the handles in order; all are durable when this returns.

        :param workflow: a declared workflow or its name.
        :param starts: each a tuple of arguments, ``WorkflowOptions``, or a dict with what ``apply_async`` takes.
        :param return_exceptions: return what refused a start in its place, instead of raising it for all.
        :raises InvalidCall, PayloadError: arguments that do not fit; nothing was started.
        :raises StartsRefused: some ids are in use; all other starts were made. Has what became of each.
        """
        return self.client.start_many(workflow, starts, return_exceptions=return_exceptions)

    def signal(
        self, workflow_id: str, signal: SignalType[Any] | str, payload: Any = None, *, key: str | None = None
    ) -> None:
        """Send a signal; it can't be lost once this returns."""
        self.client.signal(workflow_id, signal_of(signal, payload, key))

    def metrics(self) -> dict[str, float]:
        """Return what this process, and no other, has to tell of itself: one number a name, for whatever collects them.

        So far it tells of the cache of live runs, by the names of :meth:`celeriac.orchestrator.cache.RunCache.metrics`. In a
        prefork pool turns are taken by the pool's processes, so ask there. Opens no connection.
        """
        return self.runtime.metrics()

    def migrate(self) -> None:
        """Bring the store's schema up to date."""
        from celeriac.stores.sql.migrations import migrate  # noqa: PLC0415 - alembic is slow to import

        settings = self.settings
        migrate(str(settings.store), table_prefix=settings.table_prefix, schema=settings.table_schema)

    def close(self) -> None:
        """Let go of connections to the store and the bus."""
        self.runtime.close()

    def __repr__(self) -> str:
        return f"Celeriac({self.app!r})"


def celeriac_of(app: Celery) -> Celeriac:
    """Return what is attached to an app.

    :raises ConfigurationError: nothing is; says how to attach.
    """
    runtime_of(app)
    found: Celeriac = app.__dict__["celeriac"]
    return found


def _open_store(settings: Settings) -> Store:
    if settings.store is None:
        raise ConfigurationError(
            "no store is configured. Say where workflows are kept: Celeriac(app, store='postgresql+psycopg://localhost/shop'), "
            "app.conf.celeriac_store, or the environment variable CELERIAC_STORE"
        )
    from celeriac.stores.registry import is_sql, open_store  # noqa: PLC0415 - drivers are imported when needed

    url = str(settings.store)
    options = {
        "table_prefix": settings.table_prefix,
        "schema": settings.table_schema,
        "redeliver_after": settings.republish_after,
    }
    store = open_store(url, **options if is_sql(url) else {})
    if url.startswith("sqlite"):
        store.check()  # the one store that makes its tables by itself, whoever comes first
    return store


def _from_config(config: Config) -> Client:
    app = config.extra.get("app")
    if not isinstance(app, Celery):
        raise ConfigurationError("the celery executor needs extra={'app': your Celery app}")
    found = app.__dict__.get("celeriac") or Celeriac(app, config.store, hooks=config.hooks)
    return found.executor


register("celery", _from_config)
