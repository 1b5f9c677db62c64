"""Brings a database to the current schema."""
