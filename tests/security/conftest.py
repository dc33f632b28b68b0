"""The app, the Redis and the workers of ``tests/celery_edge`` serve here too."""

from tests.celery_edge.conftest import edge_env, edge_redis, flows, ledger, start_worker

__all__ = ["edge_env", "edge_redis", "flows", "ledger", "start_worker"]
