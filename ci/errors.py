"""What can go wrong in the pipeline, outside the containers that it runs.

    PipelineError
    ├── InvalidReference       a tag, registry or name that nothing can be published under
    ├── InvalidLayout          an image archive that is damaged, ambiguous or too large
    ├── InvalidData            an address of the table to train on that nothing can be fetched from
    ├── DataUnavailable        the table to train on could not be fetched, or is another one
    ├── InvalidCard            a trained model's card that does not say what it has to
    ├── InvalidRevision        no commit that could be released
    ├── ImagesDiffer           two images that should be one and the same
    ├── NotVerified            an image, or what is published about it, is not what it is said to be
    ├── SigningFailed          Sigstore gave no signature for a release
    ├── InvalidTrust           the pinned files of Sigstore are not what its clients take
    ├── PlatformRefused        an image, or a machine, of another platform than releases have
    ├── StandInRefused         an image from a stand-in base was to leave this machine
    ├── DirtyRefused           an image of more than a commit was to leave this machine
    ├── NoAdvisories           nothing to look the parts of a release up in
    ├── Vulnerable             something grave is known against a part of a release
    ├── InvalidFault           a fault that the rehearsal does not have
    ├── InvalidScenario        a scenario that the rehearsal does not have
    ├── RegistryError          the registry did not do what it was asked
    │   ├── RegistryUnreachable    no answer, or for now only that it cannot
    │   ├── RegistryDenied         it asks for credentials, or they do not suffice
    │   └── TagTaken               the tag names other content already
    ├── GoogleError            Google, or whoever vouches for us to it, was asked in vain
    │   ├── InvalidIdentity        the name of a workload identity provider or service account is not one
    │   ├── InvalidEndpoints       the file of --google-endpoints is not one
    │   ├── InvalidCondition       an attribute condition that is malformed or beyond what is understood
    │   ├── InvalidSetup           a name that nothing can be set up for at Google
    │   ├── NoAnswer               no answer, or none in the time that there is
    │   │   └── UnusableAnswer         a response that is too large, too slow or compressed unasked
    │   ├── IdentityError          no identity token, or one that is broken
    │   ├── ExchangeRefused        the Security Token Service took no identity token for an access token
    │   ├── ImpersonationRefused   IAM gave no token of the service account
    │   ├── Unexplained            a text in which no known error is found
    │   └── NotReady               doctor found what would keep a release from working
    ├── SmokeError             the built image does not answer as the release has to
    ├── InvalidEnvironment     deploy/environments.toml says something that nothing can be deployed by
    ├── TargetError            a place where releases run did not do what it was asked
    │   ├── TargetChanged          somebody changed it since it was looked at
    │   ├── TargetBusy             a deployment of somebody else's is under way there
    │   ├── TakenOver              somebody has taken this deployment over
    │   ├── NotStarted             a release does not become ready there
    │   └── InvalidJournal         its journal is not one
    ├── ReleaseRejected        a release was judged not to be fit
    ├── RolledBack             a release went wrong, and what was there before is there again
    ├── NothingToRestore       there is no good release to go back to, or to go on with
    ├── InvalidAlertmanager    an address that Alertmanager cannot be at
    ├── NotAlerted             Alertmanager did not take what it was told of a deployment
    └── RehearsalFailed        a rehearsed release ended before it was done

Every message says which subsystem speaks, which value it is about, and what to do next.
"""


class PipelineError(Exception):
    """Anything that the pipeline itself refuses or fails at."""


class InvalidReference(PipelineError):
    """A tag, registry or name that nothing can be published under."""


class InvalidLayout(PipelineError):
    """An image archive that is damaged, ambiguous or too large."""


class InvalidData(PipelineError):
    """An address of the table to train on is one that nothing can be fetched from."""


class DataUnavailable(PipelineError):
    """The table to train on could not be fetched, or is another one."""


class InvalidCard(PipelineError):
    """A trained model's card does not say what it has to."""


class InvalidRevision(PipelineError):
    """There is no commit that could be released."""


class ImagesDiffer(PipelineError):
    """Two images that should be one and the same are not."""


class NotVerified(PipelineError):
    """An image, or what is published about it, is not what it is said to be."""


class SigningFailed(PipelineError):
    """Sigstore gave no signature for a release."""


class InvalidTrust(PipelineError):
    """The pinned files of Sigstore are not what its clients take."""


class PlatformRefused(PipelineError):
    """An image is for another platform than releases are, or is made on a machine of another one."""


class StandInRefused(PipelineError):
    """An image from a stand-in base was to leave this machine."""


class DirtyRefused(PipelineError):
    """An image of more than a commit was to leave this machine."""


class NoAdvisories(PipelineError):
    """There is nothing to look the parts of a release up in."""


class Vulnerable(PipelineError):
    """Something grave is known against a part of a release."""


class InvalidFault(PipelineError):
    """A fault that the rehearsal does not have."""


class InvalidScenario(PipelineError):
    """A scenario that the rehearsal does not have."""


class RegistryError(PipelineError):
    """The registry did not do what it was asked."""


class RegistryUnreachable(RegistryError):
    """The registry gave no answer, or for now only that it cannot."""


class RegistryDenied(RegistryError):
    """The registry asks for credentials, or they do not suffice."""


class TagTaken(RegistryError):
    """The tag names other content already."""


class GoogleError(PipelineError):
    """Google, or whoever vouches for us to it, was asked in vain."""


class InvalidIdentity(GoogleError):
    """The name of a workload identity provider or service account is not one."""


class InvalidEndpoints(GoogleError):
    """The file of --google-endpoints is not one."""


class InvalidCondition(GoogleError):
    """An attribute condition is malformed, or beyond what is understood here."""


class InvalidSetup(GoogleError):
    """A name that nothing can be set up for at Google."""


class NoAnswer(GoogleError):
    """There was no answer, or none in the time that there is."""


class UnusableAnswer(NoAnswer):
    """A response is too large, comes too slowly, or is compressed though that was not requested."""


class IdentityError(GoogleError):
    """There is no identity token, or it is broken."""


class ExchangeRefused(GoogleError):
    """The Security Token Service took no identity token for an access token."""


class ImpersonationRefused(GoogleError):
    """IAM gave no token of the service account."""


class Unexplained(GoogleError):
    """No known error is found in a text."""


class NotReady(GoogleError):
    """Doctor found what would keep a release from working."""


class SmokeError(PipelineError):
    """The built image does not answer as the release has to."""


class InvalidEnvironment(PipelineError):
    """deploy/environments.toml says something that nothing can be deployed by."""


class TargetError(PipelineError):
    """A place where releases run did not do what it was asked."""


class TargetChanged(TargetError):
    """Somebody changed a target since it was looked at."""


class TargetBusy(TargetError):
    """A deployment of somebody else's is under way."""


class TakenOver(TargetError):
    """Somebody has taken this deployment over."""


class NotStarted(TargetError):
    """A release does not become ready."""


class InvalidJournal(TargetError):
    """A target's journal is not one."""


class ReleaseRejected(PipelineError):
    """A release was judged not to be fit."""


class RolledBack(PipelineError):
    """A release went wrong, and what was there before is there again."""


class NothingToRestore(PipelineError):
    """There is no good release to go back to, or to go on with."""


class InvalidAlertmanager(PipelineError):
    """An address is one that Alertmanager cannot be at."""


class NotAlerted(PipelineError):
    """Alertmanager did not take what it was told of a deployment."""


class RehearsalFailed(PipelineError):
    """A rehearsed release ended before it was done."""
