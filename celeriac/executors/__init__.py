"""What carries a workflow out: Celery, or this very process."""
