"""A strict stand-in for GitHub and Google, so that a release can be tried before it is pushed.

It refuses what they refuse, in their words. Where a wording was never seen on the real service, a comment
says so. `python -m rehearsal --help` says how to start it.

    addresses.py     where what is served
    world.py         what exists: provider, job, accounts, bindings, repositories; frozen
    ledger.py        what has happened: tokens given out, uploads begun, and what time it is
    faults.py        what shall go wrong, on request
    refusals.py      the answers of somebody who says no, one form for each kind of service
    policy.py        who may do what
    keys.py          signing keys that change
    github.py        the job's identity: request endpoint, discovery, rotating keys
    mapping.py       attributes and condition, in CEL
    sts.py           identity token to access token
    iam.py           access token to a service account's tokens
    artifacts.py     settings and permissions of an image repository
    doorkeeper.py    Artifact Registry's token endpoint, challenges and denials
    front.py         its guard in front of a real registry: uploads, downloads, immutable tags
    relay.py         how a request reaches that registry and its answer comes back
    run/             Cloud Run and its numbers
    connection.py    connections that can be cut
    app.py           all of them on one port
"""
