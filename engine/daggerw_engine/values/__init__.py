"""Values that evaluation passes along: containers, configurations, mounts, services, secrets. No effects."""
