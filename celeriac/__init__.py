"""Durable workflows on the Celery, Redis and database that you already run."""

from __future__ import annotations

from celeriac.activities.context import ActivityCanceled, ActivityContext, activity_context, activity_running
from celeriac.activities.options import ActivityOptions, CancellationType, RetryPolicy
from celeriac.app import Celeriac
from celeriac.errors import (
    ActivityError,
    ActivityTimeoutError,
    CeleriacError,
    ConfigurationError,
    InvalidCall,
    NonRetryable,
    PayloadError,
    RetryAfter,
    StartsRefused,
    WorkflowCanceledError,
    WorkflowClosed,
    WorkflowFailedError,
    WorkflowIdInUse,
    WorkflowNotFound,
    WorkflowTerminatedError,
    WorkflowTimedOutError,
)
from celeriac.executors.local import LocalExecutor, new_executor
from celeriac.orchestrator.context import WorkflowContext
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.executor import (
    Config,
    DurableExecutor,
    Signal,
    WorkflowHandle,
    WorkflowOptions,
    apply_middleware,
    list_executors,
    new,
    register,
)
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.middleware import with_hooks, with_tracing
from celeriac.orchestrator.model import IdConflict, IdReuse, Run, RunFilter, WorkflowState
from celeriac.orchestrator.signals import SignalType
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.shared import shared_activity, shared_workflow

__version__ = "0.1.0"

__all__ = [
    "ActivityCanceled",
    "ActivityContext",
    "ActivityError",
    "ActivityOptions",
    "ActivityTimeoutError",
    "CancellationType",
    "Celeriac",
    "CeleriacError",
    "Config",
    "ConfigurationError",
    "DurableExecutor",
    "HistoryEvent",
    "Hooks",
    "IdConflict",
    "IdReuse",
    "InvalidCall",
    "LocalExecutor",
    "NonRetryable",
    "PayloadError",
    "RetryAfter",
    "RetryPolicy",
    "Run",
    "RunFilter",
    "Signal",
    "SignalType",
    "StartsRefused",
    "WorkflowCanceledError",
    "WorkflowClosed",
    "WorkflowContext",
    "WorkflowFailedError",
    "WorkflowHandle",
    "WorkflowIdInUse",
    "WorkflowNotFound",
    "WorkflowOptions",
    "WorkflowState",
    "WorkflowStatus",
    "WorkflowTerminatedError",
    "WorkflowTimedOutError",
    "__version__",
    "activity_context",
    "activity_running",
    "apply_middleware",
    "list_executors",
    "new",
    "new_executor",
    "register",
    "shared_activity",
    "shared_workflow",
    "with_hooks",
    "with_tracing",
]
