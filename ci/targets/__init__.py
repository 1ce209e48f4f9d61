"""Where a release can run, and how it gets there in steps that can each be undone.

port.py          what a target offers: look, record, stage, shift, restore, tidy, observe
journal.py       what a target keeps about its deployments: who does what, and what was before
deployment.py    from release to release, each step written to the journal before it is taken
numbers.py       requests, errors and latencies that were counted
verdict.py       whether they are fit: pure functions
judge.py         waits, asks the golden questions, and lets the verdict fall
golden.py        questions with the answers that training gave
api.py           JSON over HTTP with a target's API
cloud_run.py     Cloud Run
"""
