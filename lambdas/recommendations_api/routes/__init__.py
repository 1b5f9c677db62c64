"""The routes, a file for each thing that callers deal with."""
