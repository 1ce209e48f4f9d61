"""What can go wrong in the pipeline, outside the containers that it runs.

    PipelineError
    ├── InvalidReference       a tag, registry or name that nothing can be published under
    ├── InvalidLayout          an image archive that is damaged, ambiguous or too large
    ├── RegistryError          the registry did not do what it was asked
    │   ├── RegistryUnreachable    no answer, or none that is HTTP
    │   ├── RegistryDenied         it asks for credentials, or they do not suffice
    │   └── TagTaken               the tag names other content already
    └── SmokeError             the built image does not answer as the release has to

Every message says which subsystem speaks, which value it is about, and what to do next.
"""


class PipelineError(Exception):
    """Anything that the pipeline itself refuses or fails at."""


class InvalidReference(PipelineError):
    """A tag, registry or name that nothing can be published under."""


class InvalidLayout(PipelineError):
    """An image archive that is damaged, ambiguous or too large."""


class RegistryError(PipelineError):
    """The registry did not do what it was asked."""


class RegistryUnreachable(RegistryError):
    """The registry gave no answer, or none that is HTTP."""


class RegistryDenied(RegistryError):
    """The registry asks for credentials, or they do not suffice."""


class TagTaken(RegistryError):
    """The tag names other content already."""


class SmokeError(PipelineError):
    """The built image does not answer as the release has to."""
