"""From shop events to a version of recommendations, and that version into Postgres."""
