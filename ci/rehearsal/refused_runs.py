"""Runs of GitHub's that may neither release nor deploy: the policy that setup-google prints refuses each."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from errors import ExchangeRefused, ImpersonationRefused, RehearsalFailed
from keyless.federation import Federation
from net.retry_policy import patient
from rehearsal.scenario_run import FakeCloud


@dataclass(frozen=True)
class Run:
    """A job that differs from the right one, and the clause that refuses it; `deploys` is to production."""

    clause: str
    job: Mapping[str, str] = field(default_factory=dict)
    deploys: bool = False


RUNS = {
    "another workflow": Run("assertion.workflow_ref", {"workflow": ".github/workflows/other.yml"}),
    "another event": Run("assertion.event_name=='push'", {"event": "workflow_dispatch"}),
    "a branch": Run("assertion.ref.startsWith('refs/tags/v')", {"ref": "refs/heads/main"}),
    "production without its environment": Run("attribute.environment/", deploys=True),
    "production from staging": Run("attribute.environment/", {"environment": "staging"}, deploys=True),
}


async def check(cloud: FakeCloud, tag: str, tell: Callable[[str], None]) -> None:
    """Let each of them ask for its token; raises RehearsalFailed unless the clause refuses it."""
    for name, run in RUNS.items():
        await cloud.start_run(tag, **run.job)
        tell(f"refused: {name}: {await _refusal(cloud, name, run)}")


async def _refusal(cloud: FakeCloud, name: str, run: Run) -> str:
    """Return the part of an error that names the clause."""
    async with patient() as client:
        federation = Federation(cloud.deployer if run.deploys else cloud.identity, client)
        try:
            await federation.access_token()
        except (ExchangeRefused, ImpersonationRefused) as error:
            _, clause, rest = error.message.partition(run.clause)
            if clause:
                return re.split(r"; |\n", clause + rest)[0]
            raise RehearsalFailed(f"{name}: {run.clause} was to refuse it: {error.message}") from error
    raise RehearsalFailed(f"{name}: {run.clause} was to refuse it, and it was given a token")
