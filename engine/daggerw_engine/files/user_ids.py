"""User and group ids in a container, from its /etc/passwd and /etc/group."""

from __future__ import annotations


def user_ids(named: str, passwd: str, group: str) -> tuple[int, int, list[int], str]:
    """Return user id, group id, further groups and home of USER[:GROUP]; LookupError for an unknown name."""
    user, _, own_group = named.partition(":")
    users = [line.split(":") for line in passwd.splitlines() if line.count(":") >= 6]
    groups = [line.split(":") for line in group.splitlines() if line.count(":") >= 3]
    found = next((entry for entry in users if user in (entry[0], entry[2])), None)
    if found is None and not user.isdecimal():
        raise LookupError(f"unknown user {user!r} in the container")
    uid, gid, home = (int(found[2]), int(found[3]), found[5]) if found else (int(user), 0, "/")
    if own_group:
        named_group = next((int(entry[2]) for entry in groups if entry[0] == own_group), None)
        if named_group is None and not own_group.isdecimal():
            raise LookupError(f"unknown group {own_group!r} in the container")
        gid = int(own_group) if named_group is None else named_group
        return uid, gid, [], home
    further = [int(entry[2]) for entry in groups if found and found[0] in entry[3].split(",")]
    return uid, gid, further, home
