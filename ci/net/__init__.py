"""HTTP requests with retries, responses read as JSON, secret tokens, concurrency and the log of steps.

Imports `advice` and `errors`.
"""
