"""Tools for testing workflows and stores, shipped to users."""
