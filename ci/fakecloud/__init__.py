"""The fake cloud: a strict local GitHub and Google on one port, with their own refusals.

Where a wording was never seen on the real service, a comment says so. `python -m fakecloud --help` says how
to start it. Imports `advice` and `errors` of the pipeline and nothing else; it runs in a container of its own.
"""
