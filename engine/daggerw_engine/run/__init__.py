"""Commands and services in containers: what they meet, their network, how they run."""
