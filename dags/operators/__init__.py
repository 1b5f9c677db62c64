"""Operators of the project's own."""
