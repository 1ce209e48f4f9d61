"""Attribute mapping of the workload identity provider, and the workflow that may use it."""

# Numeric ids outlive renames, and can't be registered again. The subject stays below Google's 127 bytes
# however long the names of owner and repository are, and leads from an audit log to the run.
MAPPING = {
    "google.subject": "assertion.repository_id + ':' + assertion.run_id",
    "attribute.repository_id": "assertion.repository_id",
    "attribute.repository_owner_id": "assertion.repository_owner_id",
    "attribute.ref": "assertion.ref",
    # What a binding of production's account demands: the repository's job in that environment of GitHub's.
    "attribute.environment": "assertion.repository_id + ':' + "
    "(has(assertion.environment) ? assertion.environment : 'none')",
}
WORKFLOW = ".github/workflows/milestone2-ci.yml"
