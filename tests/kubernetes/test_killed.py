"""Deployments killed before and after each change, on a real control plane."""

from __future__ import annotations

from tests.ci.deploying.targets.test_killed import *  # noqa: F403
