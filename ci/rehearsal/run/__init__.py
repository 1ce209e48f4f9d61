"""Cloud Run as the rehearsal has it: the Admin API, services that split real requests, and their numbers.

Messages and their parsing are Google's own types (google.cloud.run_v2), so that names, types and enums are
what the real API takes.

    state.py        services, revisions, operations: what exists
    rules.py        what a service may not be, in the real one's words where those are known
    api.py          the Admin API
    reconcile.py    what is asked for becomes so, in a while, or fails
    serving.py      requests at a service's addresses, by the traffic list
    upstream.py     connections to instances
    monitoring.py   Cloud Monitoring's series of what was served
    control.py      how the rehearsal starts revisions: a door that Google does not have
"""
