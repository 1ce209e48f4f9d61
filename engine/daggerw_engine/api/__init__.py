"""Dagger's API: queries, calls, the session that evaluates them, and each type's fields."""
