"""The store in an SQL database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.engine import URL, Engine

from celeriac.durations import Duration, seconds
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import (
    Claim,
    Commit,
    CommitOutcome,
    Created,
    Delivery,
    DueTask,
    Fence,
    Message,
    Micros,
    NewRun,
    Pulse,
    Run,
    RunFilter,
    Task,
    TurnView,
    WorkflowState,
    micros,
)
from celeriac.orchestrator.status import TaskKind, WorkflowStatus
from celeriac.payloads import Json
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.archive import Archive
from celeriac.stores.sql.clock import Clock
from celeriac.stores.sql.commits import Commits
from celeriac.stores.sql.deliveries import Deliveries
from celeriac.stores.sql.drivers import Psycopg
from celeriac.stores.sql.engine import make_engine
from celeriac.stores.sql.migrations import make_ready
from celeriac.stores.sql.relay import Relay
from celeriac.stores.sql.runs import Runs
from celeriac.stores.sql.schema import DEFAULT_PREFIX, make_tables
from celeriac.stores.sql.tasks import Tasks
from celeriac.stores.sql.transactions import Database
from celeriac.stores.sql.turns import Turns


class SqlStore:
    """The store contract in PostgreSQL, MariaDB, MySQL or SQLite.

    Its methods are those of :class:`celeriac.orchestrator.ports.Store`, where they are described.

    :param url_or_engine: a URL as SQLAlchemy takes it, or an engine that the application has; that one is not
        closed with the store. On PostgreSQL psycopg 3 is needed, on MariaDB and MySQL pymysql or mysqlclient.
    :param table_prefix: what the tables' names begin with.
    :param schema: the database schema they live in; None is the connection's own.
    :param clock: returns microseconds since the epoch, in place of the server's clock; for tests.
    :param connections: how many connections a process may open, for a URL.
    :param redeliver_after: how long after a wake-up the relay publishes the turn itself (timedelta or seconds).
    :param fast_path: False has PostgreSQL take the same path as the others; the two do the same.
    :raises ConfigurationError: a URL, or a kind of database, that can't work.
    :raises MissingExtra: the database's driver is not installed.
    """

    def __init__(
        self,
        url_or_engine: str | URL | Engine,
        *,
        table_prefix: str = DEFAULT_PREFIX,
        schema: str | None = None,
        clock: Clock | None = None,
        connections: int = 1,
        redeliver_after: Duration = 10.0,
        fast_path: bool = True,
    ) -> None:
        self._owned = not isinstance(url_or_engine, Engine)
        engine = url_or_engine if isinstance(url_or_engine, Engine) else make_engine(url_or_engine)
        tables = make_tables(table_prefix, schema)
        self.redeliver_after = micros(seconds(redeliver_after, name="redeliver_after", positive=True))
        self.db = Database(
            engine,
            tables,
            owned=self._owned,
            clock=clock,
            connections=connections,
            redeliver_after=self.redeliver_after,
        )
        access = Access(self.db)
        self._runs: Runs
        self._deliveries: Deliveries
        self._turns: Turns
        self._commits: Commits
        self._tasks: Tasks
        self._relay: Relay
        if fast_path and isinstance(self.db.driver, Psycopg):
            self._take_fast_path(access)
        else:
            self._runs = Runs(self.db, access)
            self._deliveries = Deliveries(self.db, access)
            self._turns = Turns(self.db, access)
            self._commits = Commits(self.db, access)
            self._tasks = Tasks(self.db, access)
            self._relay = Relay(self.db, access)
        self._archive = Archive(self.db, access, self._turns)

    def _take_fast_path(self, access: Access) -> None:
        # Not before: psycopg is an extra, and these name its exceptions.
        from celeriac.stores.sql.postgres.commits import PostgresCommits  # noqa: PLC0415
        from celeriac.stores.sql.postgres.deliveries import PostgresDeliveries  # noqa: PLC0415
        from celeriac.stores.sql.postgres.relay import PostgresRelay  # noqa: PLC0415
        from celeriac.stores.sql.postgres.runs import PostgresRuns  # noqa: PLC0415
        from celeriac.stores.sql.postgres.tasks import PostgresTasks  # noqa: PLC0415
        from celeriac.stores.sql.postgres.texts import Texts  # noqa: PLC0415
        from celeriac.stores.sql.postgres.turns import PostgresTurns  # noqa: PLC0415

        texts = Texts(self.db)
        self._runs = PostgresRuns(self.db, access, texts)
        self._deliveries = PostgresDeliveries(self.db, access, texts)
        self._turns = PostgresTurns(self.db, access, texts)
        self._commits = PostgresCommits(self.db, access, texts)
        self._tasks = PostgresTasks(self.db, access, texts)
        self._relay = PostgresRelay(self.db, access, texts)

    def __repr__(self) -> str:
        url = self.db.engine.url.render_as_string(hide_password=True)
        return f"SqlStore({url!r})"

    # -- life --------------------------------------------------------------------------------------

    def now(self) -> Micros:
        """Return the store's clock."""
        return self._runs.now()

    def check(self) -> None:
        """See that the tables are there. SQLite's are created.

        :raises SchemaMismatch: they are not, or of another version; ``celery workflow migrate`` makes them.
        """
        make_ready(self.db)

    def close(self) -> None:
        """Close the connections, unless the engine is the application's."""
        if self._owned:
            self.db.connections.close()

    # -- starting and delivering -------------------------------------------------------------------

    def create(self, new: NewRun) -> Created:
        """Write a run, its first event and its turn row, or say why not.

        :raises ValueError: an id with a NUL character, or longer than 1,000 characters.
        :raises StoreError: another run has the same run id.
        """
        return self._runs.create(new)

    def create_many(self, many: Sequence[NewRun]) -> Sequence[Created]:
        """Do the same for many runs at once, which takes a fraction of the time of as many calls.

        :param many: up to a few hundred; their rows stay locked until all are written.
        :returns: what became of each, in order.
        """
        return self._runs.create_many(many)

    def deliver(
        self, message: Message, *, namespace: str, workflow_id: str | None = None, run_id: str | None = None
    ) -> Delivery:
        """Put a message into the inbox of an open run."""
        return self._deliveries.deliver(message, namespace=namespace, workflow_id=workflow_id, run_id=run_id)

    def settle(self, fence: Fence, message: Message) -> Delivery:
        """Deliver the outcome of a task row and delete the row, in one transaction."""
        return self._deliveries.settle(fence, message)

    # -- turns -------------------------------------------------------------------------------------

    def begin_turn(self, run_id: str, *, token: str, lease: Micros, known: tuple[str, int] | None) -> TurnView | None:
        """Claim the run's turn if it is due, and read what the turn needs."""
        return self._turns.begin(run_id, token=token, lease=lease, known=known)

    def read_turn(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        """Read the same without claiming."""
        return self._turns.read(run_id, known=known)

    def commit(self, commit: Commit) -> CommitOutcome:
        """Write all that a turn decided, or nothing.

        :raises ValueError: ``leave_due`` with a closing status, events that don't go on from the version, or a new task
            row whose key is taken.
        """
        return self._commits.commit(commit)

    def commit_meanwhile(self, commit: Commit, meanwhile: Callable[[], None]) -> CommitOutcome:
        """Do the same, and call ``meanwhile`` while the server is at it, where the commit is one statement."""
        return self._commits.commit(commit, meanwhile)

    def release_turn(
        self,
        run_id: str,
        *,
        token: str,
        delay: Micros,
        blocked: Mapping[str, Json] | None = None,
        declined: bool = False,
    ) -> bool:
        """Give a claimed turn back, due again after ``delay``."""
        return self._turns.release(run_id, token=token, delay=delay, blocked=blocked, declined=declined)

    def wake_blocked(self, namespace: str) -> int:
        """Make the turns of all blocked runs due now."""
        return self._turns.wake_blocked(namespace)

    def set_status(self, run_id: str, status: WorkflowStatus) -> Delivery:
        """Pause, or take up again, an open run.

        :raises ValueError: a status other than running and paused.
        """
        return self._runs.set_status(run_id, status)

    # -- activities --------------------------------------------------------------------------------

    def claim_activity(
        self,
        run_id: str,
        seq: int,
        *,
        attempt: int,
        inner: int,
        token: str,
        lease: Micros,
        worker: str,
        known: tuple[str, int] | None = None,
    ) -> Claim | None:
        """Claim an attempt, or return None when it is not to be run."""
        return self._tasks.claim(
            run_id, seq, attempt=attempt, inner=inner, token=token, lease=lease, worker=worker, known=known
        )

    def requeue(
        self,
        fence: Fence,
        *,
        delay: Micros,
        grace: Micros,
        next_attempt: bool,
        failure: Mapping[str, Json] | None = None,
    ) -> bool:
        """Give a claimed row back as queued."""
        return self._tasks.requeue(fence, delay=delay, grace=grace, next_attempt=next_attempt, failure=failure)

    def renew(self, fences: Sequence[Fence], *, lease: Micros) -> Mapping[Fence, Pulse]:
        """Move on the leases of attempts that are running."""
        return self._tasks.renew(fences, lease=lease)

    def heartbeat(self, fence: Fence, details: Json) -> Pulse:
        """Record progress and move on the heartbeat's deadline."""
        return self._tasks.heartbeat(fence, details)

    # -- the relay ---------------------------------------------------------------------------------

    def take_due(self, namespace: str, *, limit: int, hold: Micros) -> Sequence[DueTask]:
        """Take the rows that are due, the longest due first, and make them due again after ``hold``."""
        return self._relay.take_due(namespace, limit=limit, hold=hold)

    def next_due(self, namespace: str) -> Micros | None:
        """Return the earliest ``due_at`` of all rows that a relay may take, or None."""
        return self._relay.next_due(namespace)

    def postpone(self, task: Task, *, delay: Micros, published: int) -> None:
        """Move a row's ``due_at`` to ``delay`` from now unless it has been claimed or has moved on."""
        self._relay.postpone(task, delay=delay, published=published)

    def remove_task(self, run_id: str, kind: TaskKind, seq: int) -> bool:
        """Delete a row, whoever has claimed it."""
        return self._relay.remove(run_id, kind, seq)

    def hold_lease(self, name: str, holder: str, *, lease: Micros) -> bool:
        """Take or renew a named lease; False while another holder has it."""
        return self._relay.hold_lease(name, holder, lease=lease)

    # -- reading -----------------------------------------------------------------------------------

    def find_run(
        self,
        namespace: str,
        *,
        workflow_id: str | None = None,
        run_id: str | None = None,
        start_key: str | None = None,
    ) -> Run | None:
        """Return the run with this run id, the one of this start, or the latest with this workflow id."""
        return self._runs.find(namespace, workflow_id, run_id, start_key)

    def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[HistoryEvent]:
        """Return a run's events in order."""
        return self._archive.history(run_id, after=after, limit=limit)

    def tasks(self, run_id: str) -> Sequence[Task]:
        """Return a run's task rows, by kind and number."""
        return self._archive.tasks(run_id)

    # -- the specification's four ------------------------------------------------------------------

    def save(self, state: WorkflowState) -> None:
        """Restore a whole run under a new epoch, in place of the run with its run id if there is one.

        :raises StoreError: its workflow id belongs to another open run, or its start key to another run.
        """
        self._archive.save(state)

    def load(self, namespace: str, workflow_id: str) -> WorkflowState | None:
        """Return the latest run with this workflow id, whole, or None."""
        return self._archive.load(namespace, workflow_id)

    def list(self, namespace: str, where: RunFilter) -> Sequence[Run]:
        """Return runs, newest first, a page at a time."""
        return self._archive.page(namespace, where)

    def delete(self, namespace: str, workflow_id: str) -> int:
        """Delete all runs with this workflow id and return how many there were.

        :raises StoreError: one of them is open; cancel or terminate it first.
        """
        return self._archive.delete(namespace, workflow_id)

    def purge(self, namespace: str, *, closed_before: Micros, limit: int) -> int:
        """Delete runs that closed earlier than a time, in one transaction, and return how many that were."""
        return self._archive.purge(namespace, closed_before=closed_before, limit=limit)
