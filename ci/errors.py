"""Errors of the pipeline, as a tree.

    PipelineError
    ├── InvalidReference         release.invalid_reference
    ├── InvalidCard              release.invalid_card
    ├── InvalidRevision          release.no_commit
    ├── DirtyRefused             release.uncommitted_changes
    ├── StandInRefused           release.stand_in_base
    ├── PlatformRefused          release.wrong_platform
    ├── SmokeError               release.smoke_test_failed
    ├── NotVerified              release.not_verified
    ├── InvalidLayout            image.invalid_layout
    ├── ImagesDiffer             image.not_identical
    ├── InvalidData              data.invalid_address
    ├── DataUnavailable          data.unavailable
    ├── SigningFailed            signing.failed
    ├── InvalidTrust             signing.invalid_trust
    ├── NoAdvisories             scan.no_advisories
    ├── Vulnerable               scan.vulnerable
    ├── RegistryError            registry.failed
    │   ├── RegistryUnreachable  registry.unreachable
    │   ├── RegistryDenied       registry.denied
    │   └── TagTaken             registry.tag_taken
    ├── GoogleError              (raised only as one of these)
    │   ├── InvalidIdentity      google.invalid_identity
    │   ├── InvalidEndpoints     google.invalid_endpoints
    │   ├── InvalidCondition     google.invalid_condition
    │   ├── InvalidSetup         google.invalid_setup
    │   ├── NoAnswer             http.no_response
    │   │   └── UnusableAnswer   http.unusable_response
    │   ├── IdentityError        google.no_identity_token
    │   ├── ExchangeRefused      google.exchange_refused
    │   ├── ImpersonationRefused google.impersonation_refused
    │   ├── Unexplained          explain.unknown_error
    │   └── NotReady             doctor.not_ready
    ├── InvalidEnvironment       deployment.invalid_environment
    ├── TargetError              deployment.target_failed
    │   ├── TargetChanged        deployment.target_changed
    │   ├── TargetBusy           deployment.target_busy
    │   ├── TakenOver            deployment.taken_over
    │   ├── NotStarted           deployment.not_started
    │   └── InvalidJournal       deployment.invalid_journal
    ├── ReleaseRejected          deployment.release_rejected
    ├── RolledBack               deployment.rolled_back
    ├── NothingToRestore         deployment.nothing_to_restore
    ├── InvalidAlertmanager      alerting.invalid_address
    ├── NotAlerted               alerting.not_delivered
    ├── InvalidFault             rehearsal.unknown_fault
    ├── InvalidScenario          rehearsal.unknown_scenario
    └── RehearsalFailed          rehearsal.failed

A code is stable: docs/runbook.md has an entry for each, and tests match it. A message may be reworded; it
names the subsystem, the value at fault and, where there is one, the command that fixes the problem.
"""

from collections.abc import Mapping
from typing import ClassVar

from advice.known_errors import advice

# A message that has a fix already gets no other one.
_FIX = "\n  fix: "


class PipelineError(Exception):
    """A refusal or failure of the pipeline.

    `problem` says what failed. `claims` are those of the identity token that was used, and `names` are
    resources of the caller's; the cause and fix of a known error mention both. Printed is the message and
    the line `runbook: CODE`; text that goes into other text, such as a journal or an alert, is `message`.
    """

    code: ClassVar[str] = "pipeline.failed"

    def __init__(self, problem: str, claims: Mapping[str, object] | None = None, /, **names: str) -> None:
        super().__init__(problem)
        self.problem, self.claims, self.names = problem, claims, names

    @property
    def message(self) -> str:
        """The problem, with cause and fix when the error is known."""
        if _FIX in self.problem:
            return self.problem
        return self.problem + advice(self.problem, self.claims, **self.names)

    def __str__(self) -> str:
        return f"{self.message}\nrunbook: {self.code}"


class InvalidReference(PipelineError):
    """A version, registry or image name is malformed."""

    code = "release.invalid_reference"


class InvalidCard(PipelineError):
    """A trained model's card lacks a required value."""

    code = "release.invalid_card"


class InvalidRevision(PipelineError):
    """The project has no commit to release."""

    code = "release.no_commit"


class DirtyRefused(PipelineError):
    """An image with uncommitted changes must not leave this machine."""

    code = "release.uncommitted_changes"


class StandInRefused(PipelineError):
    """An image with a stand-in base must not leave this machine."""

    code = "release.stand_in_base"


class PlatformRefused(PipelineError):
    """An image, or the machine that builds it, has another platform than releases have."""

    code = "release.wrong_platform"


class SmokeError(PipelineError):
    """A service does not respond as the release has to."""

    code = "release.smoke_test_failed"


class NotVerified(PipelineError):
    """A published image, or a document attached to it, fails verification."""

    code = "release.not_verified"


class InvalidLayout(PipelineError):
    """An image archive is damaged, ambiguous or too large."""

    code = "image.invalid_layout"


class ImagesDiffer(PipelineError):
    """Two builds that have to be identical differ."""

    code = "image.not_identical"


class InvalidData(PipelineError):
    """The address of the training data is malformed or lacks a SHA-256."""

    code = "data.invalid_address"


class DataUnavailable(PipelineError):
    """The training data cannot be fetched, or has another SHA-256."""

    code = "data.unavailable"


class SigningFailed(PipelineError):
    """Sigstore issued no signature for a release."""

    code = "signing.failed"


class InvalidTrust(PipelineError):
    """Sigstore's client cannot read its pinned files."""

    code = "signing.invalid_trust"


class NoAdvisories(PipelineError):
    """There is no usable source of advisories."""

    code = "scan.no_advisories"


class Vulnerable(PipelineError):
    """A part of a release has a known vulnerability at or above the severity given."""

    code = "scan.vulnerable"


class RegistryError(PipelineError):
    """A request to a registry failed."""

    code = "registry.failed"


class RegistryUnreachable(RegistryError):
    """The registry does not respond, or cannot for now."""

    code = "registry.unreachable"


class RegistryDenied(RegistryError):
    """The registry requires credentials, or those given lack a permission."""

    code = "registry.denied"


class TagTaken(RegistryError):
    """The tag already names an image with other content."""

    code = "registry.tag_taken"


class GoogleError(PipelineError):
    """A request to Google or to the identity provider failed, or a value for one is invalid."""

    code = "google.failed"


class InvalidIdentity(GoogleError):
    """The name of a workload identity provider or service account is malformed or missing."""

    code = "google.invalid_identity"


class InvalidEndpoints(GoogleError):
    """The file of --google-endpoints is invalid."""

    code = "google.invalid_endpoints"


class InvalidCondition(GoogleError):
    """An attribute condition is malformed, or uses more of CEL than is supported."""

    code = "google.invalid_condition"


class InvalidSetup(GoogleError):
    """A name that Google would refuse, or a repository that does not exist."""

    code = "google.invalid_setup"


class NoAnswer(GoogleError):
    """A server sent no response in time."""

    code = "http.no_response"


class UnusableAnswer(NoAnswer):
    """A response is too large, too slow, or compressed although that was not requested."""

    code = "http.unusable_response"


class IdentityError(GoogleError):
    """There is no identity token, or it is malformed."""

    code = "google.no_identity_token"


class ExchangeRefused(GoogleError):
    """The Security Token Service refused to exchange the identity token."""

    code = "google.exchange_refused"


class ImpersonationRefused(GoogleError):
    """IAM refused a token of the service account."""

    code = "google.impersonation_refused"


class Unexplained(GoogleError):
    """A text contains no known error."""

    code = "explain.unknown_error"


class NotReady(GoogleError):
    """A check of doctor failed, so a release would fail."""

    code = "doctor.not_ready"


class InvalidEnvironment(PipelineError):
    """A setting in deploy/environments.toml is missing or invalid."""

    code = "deployment.invalid_environment"


class TargetError(PipelineError):
    """A deployment target refused a request or did not respond."""

    code = "deployment.target_failed"


class TargetChanged(TargetError):
    """The service has changed since its state was read."""

    code = "deployment.target_changed"


class TargetBusy(TargetError):
    """Another deployment to the target is under way."""

    code = "deployment.target_busy"


class TakenOver(TargetError):
    """Another operator has taken this deployment over."""

    code = "deployment.taken_over"


class NotStarted(TargetError):
    """A release does not become ready."""

    code = "deployment.not_started"


class InvalidJournal(TargetError):
    """The journal of a target is malformed."""

    code = "deployment.invalid_journal"


class ReleaseRejected(PipelineError):
    """A candidate failed its trial."""

    code = "deployment.release_rejected"


class RolledBack(PipelineError):
    """A deployment failed, and the release before it is live again."""

    code = "deployment.rolled_back"


class NothingToRestore(PipelineError):
    """There is no good release to restore or to promote."""

    code = "deployment.nothing_to_restore"


class InvalidAlertmanager(PipelineError):
    """The address of Alertmanager is malformed."""

    code = "alerting.invalid_address"


class NotAlerted(PipelineError):
    """Alertmanager did not accept an alert about a deployment."""

    code = "alerting.not_delivered"


class InvalidFault(PipelineError):
    """The rehearsal has no such fault."""

    code = "rehearsal.unknown_fault"


class InvalidScenario(PipelineError):
    """The rehearsal has no such scenario."""

    code = "rehearsal.unknown_scenario"


class RehearsalFailed(PipelineError):
    """A rehearsed release failed."""

    code = "rehearsal.failed"
