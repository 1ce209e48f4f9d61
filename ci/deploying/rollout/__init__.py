"""A deployment's steps whatever runs the release: journal, golden rows, request counts, verdict, judge.

Imports `releasing` and what that imports, and nothing of the targets.
"""
