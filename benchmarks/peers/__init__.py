"""The systems that are measured side by side: each a declaration, a driver that is its client, and what its workers run."""
