"""HTTP connections: limits, hot path, bodies, responses; `app.api` and `app.server` may import it."""
