"""Commands and services in containers: namespaces, layers, networks."""
