"""What every target has to do, done by the Kubernetes driver on a real control plane."""

from __future__ import annotations

from tests.ci.deploying.targets.test_conformance import *  # noqa: F403
