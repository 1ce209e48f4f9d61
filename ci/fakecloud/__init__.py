"""The fake cloud: a strict local GitHub and Google on one port, with their own refusals.

Where a wording was never seen on the real service, a comment says so. `python -m fakecloud --help` shows its
options. It imports `advice`, `conditions` and `errors` of the pipeline, and runs in a container of its own.
"""
