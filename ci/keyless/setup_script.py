"""Set-up script for Google, which is printed and never run here.

The script is deploy/google/setup.sh; the settings come before its commands, each quoted for the shell.
"""

import re
from dataclasses import dataclass
from shlex import quote

from advice.attribute_mapping import MAPPING, WORKFLOW
from conditions.attribute_condition import Condition
from errors import InvalidSetup
from net.http_responses import document
from net.retry_policy import Retrying

PLACE = "# `dagger call setup-google` writes the settings here.\n"
_ACCOUNT, _SERVICE = r"[a-z][a-z0-9-]{4,28}[a-z0-9]", r"[a-z](?:[a-z0-9-]{0,47}[a-z0-9])?"
_NAMES = {
    "project": (r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "its id, such as 'my-project'"),
    "location": (r"[a-z]+(?:-[a-z]+[0-9]+)?", "a region or multi-region, such as 'us-central1'"),
    "repository": (r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", "small letters, digits and -, such as 'models'"),
    "github_repository": (r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", "OWNER/NAME"),
    "pool": (r"(?!gcp-)[a-z0-9-]{4,32}", "4 to 32 small letters, digits and -, such as 'releases'"),
    "provider": (r"(?!gcp-)[a-z0-9-]{4,32}", "4 to 32 small letters, digits and -, such as 'github'"),
    "region": (r"[a-z]+-[a-z]+[0-9]+", "a region, such as 'us-central1'"),
    "staging_service": (_SERVICE, "small letters, digits and -, such as 'milestone2-staging'"),
    "production_service": (_SERVICE, "small letters, digits and -, such as 'milestone2'"),
    "staging_account": (_ACCOUNT, "the part before its @"),
    "production_account": (_ACCOUNT, "the part before its @"),
    "service_account": (r"|[a-z][a-z0-9-]{4,28}[a-z0-9]", "the part before its @, or '' to do without one"),
    "runtime_account": (r"|[a-z][a-z0-9-]{4,28}[a-z0-9]", "the part before its @, or '' to deploy nothing"),
}


@dataclass(frozen=True)
class Setup:
    """Names of the resources at Google, and the GitHub repository that releases."""

    project: str
    github_repository: str
    location: str = "us-central1"
    repository: str = "models"
    pool: str = "releases"
    provider: str = "github"
    service_account: str = "releaser"
    runtime_account: str = "runtime"
    staging_account: str = "staging-deployer"
    production_account: str = "production-deployer"
    region: str = "us-central1"
    staging_service: str = "milestone2-staging"
    production_service: str = "milestone2"

    def __post_init__(self) -> None:
        """Raise InvalidSetup for a name that Google or GitHub would refuse, or one account for two things."""
        accounts = (self.service_account, self.runtime_account, self.staging_account, self.production_account)
        if len(set(filter(None, accounts))) != len(list(filter(None, accounts))):
            raise InvalidSetup(f"setup: {', '.join(accounts)} have to be different accounts")
        for name, (pattern, hint) in _NAMES.items():
            value = getattr(self, name)
            if not re.fullmatch(pattern, value, re.ASCII):
                raise InvalidSetup(f"setup: {name.replace('_', ' ')} cannot be {value!r}; write {hint}")


async def github_ids(repository: str, api: str, client: Retrying) -> tuple[str, str]:
    """Return the numeric ids of a public repository and its owner, as GitHub's API names them."""
    answer = await client.send(client.http.build_request("GET", f"{api}/repos/{repository}"))
    found = document(answer)
    owner = found.get("owner")
    if answer.status_code != 200 or "id" not in found or not isinstance(owner, dict):
        raise InvalidSetup(
            f"setup: {answer.url.host} answered {answer.status_code} on {repository}, which is private or "
            f"misspelt; pass --repository-id and --owner-id, which `gh api repos/{repository} "
            "--jq '.id, .owner.id'` prints"
        )
    return str(found["id"]), str(owner.get("id"))


def script(template: str, setup: Setup, repository_id: str, owner_id: str) -> str:
    """Return the script for a set-up; raises InvalidCondition for ids that are none."""
    settings = {
        "PROJECT": setup.project,
        "GITHUB_REPOSITORY": setup.github_repository,
        "REPOSITORY_ID": repository_id,
        "OWNER_ID": owner_id,
        "WORKFLOW": WORKFLOW,
        "LOCATION": setup.location,
        "REPOSITORY": setup.repository,
        "POOL": setup.pool,
        "PROVIDER": setup.provider,
        "SERVICE_ACCOUNT": setup.service_account,
        "RUNTIME_ACCOUNT": setup.runtime_account,
        "STAGING_ACCOUNT": setup.staging_account,
        "PRODUCTION_ACCOUNT": setup.production_account,
        "REGION": setup.region,
        "STAGING_SERVICE": setup.staging_service,
        "PRODUCTION_SERVICE": setup.production_service,
        "MAPPING": ",".join(f"{target}={source}" for target, source in MAPPING.items()),
        "CONDITION": str(Condition.of(repository_id, owner_id)),
    }
    if PLACE not in template:
        raise InvalidSetup(f"setup: the script has no line {PLACE.strip()!r} for the settings to go to")
    return template.replace(PLACE, "".join(f"{name}={quote(value)}\n" for name, value in settings.items()))
