"""The workflow runtime: a workflow is a function of its history."""
