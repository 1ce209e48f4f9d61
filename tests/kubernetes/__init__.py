"""Tests of the Kubernetes target on a real control plane: `python -m tests.kubernetes`."""
