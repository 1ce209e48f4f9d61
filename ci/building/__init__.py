"""Containers that build and check: tools, linters, the image, its files, and the benchmark.

Imports `releasing`, `image`, `errors` and what those import. Nothing here runs by itself: functions describe
containers, and `main` decides which of them run.
"""
