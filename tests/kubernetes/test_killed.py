"""Whoever deploys may be killed before and after any change: on a real control plane, too."""

from __future__ import annotations

from tests.ci.deploying.targets.test_killed import *  # noqa: F403
