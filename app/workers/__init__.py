"""Several processes that serve as one: supervised, and counted together; the service above imports it."""
