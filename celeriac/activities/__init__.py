"""Declaring and running activities."""
