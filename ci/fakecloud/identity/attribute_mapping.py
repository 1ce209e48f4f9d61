"""Attribute mapping and condition of a provider, evaluated on a token's claims (CEL)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import celpy
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError

from fakecloud.state.fixtures import Provider
from fakecloud.state.policy import Federated
from fakecloud.state.refusals import OAuthRefusal

_SUBJECT_BYTES = 127


@dataclass(frozen=True)
class Evaluator:
    """A provider's mapping and condition, compiled."""

    pool: str
    condition: celpy.Runner
    mapping: Mapping[str, celpy.Runner]

    @classmethod
    def of(cls, provider: Provider) -> "Evaluator":
        """Compile a provider's expressions; raise celpy.CELParseError for what is no CEL."""
        mapping = {target: _compile(text) for target, text in provider.mapping.items()}
        return cls(provider.pool_resource, _compile(provider.condition), mapping)

    def principal(self, claims: Mapping[str, Any]) -> Federated:
        """Return whom the claims stand for, or refuse them as the Security Token Service does."""
        try:
            assertion = json_to_cel(dict(claims))
        except (ValueError, RecursionError) as error:  # numbers beyond CEL's 64 bits, nesting
            raise OAuthRefusal("invalid_grant", "Unable to parse the ID Token.") from error
        found = {target: _string(program, assertion) for target, program in self.mapping.items()}
        values = {target: value for target, value in found.items() if value is not None}
        if not self._holds(assertion, values):
            rejected = "The given credential is rejected by the attribute condition."
            raise OAuthRefusal("unauthorized_client", rejected)
        subject = _subject(values)
        custom = [target for target in values if target.startswith("attribute.")]
        attributes = {target.removeprefix("attribute."): values[target] for target in custom}
        return Federated(self.pool, subject, attributes)

    def _holds(self, assertion: Any, values: Mapping[str, str]) -> bool:
        """Return whether the condition is true; one that fails, say on an unmapped attribute, is not."""
        # Given by whole names such as google.subject, as cel-python has a `google` of its own.
        context = {"assertion": assertion, **{target: json_to_cel(text) for target, text in values.items()}}
        try:
            return bool(self.condition.evaluate(context) == celpy.celtypes.BoolType(True))
        except CELEvalError:
            return False


def _compile(text: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(text))


def _string(program: celpy.Runner, assertion: Any) -> str | None:
    """Return what an expression maps to, None when that is nothing or no text."""
    try:
        value = program.evaluate({"assertion": assertion})
    except CELEvalError:
        return None
    return str(value) if isinstance(value, str) else None


def _subject(values: Mapping[str, str]) -> str:
    subject = values.get("google.subject")
    if not subject:
        missing = "Could not obtain a value for google.subject from the given credential."
        raise OAuthRefusal("unauthorized_client", missing)
    if len(subject.encode()) > _SUBJECT_BYTES:
        raise OAuthRefusal(
            "invalid_request",
            "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your "
            "attribute mapping or the incoming assertion to produce a mapped attribute that is less than "
            "127 bytes.",
        )
    return subject
