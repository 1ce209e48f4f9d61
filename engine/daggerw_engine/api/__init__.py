"""Dagger's API: queries, calls, their evaluation in a session, and each type's fields."""
