"""Conformance suite of all targets, run with the Kubernetes driver on a real control plane."""

from __future__ import annotations

from tests.ci.deploying.targets.test_conformance import *  # noqa: F403
