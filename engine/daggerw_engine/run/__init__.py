"""Commands and services in containers: preparation, network, execution."""
