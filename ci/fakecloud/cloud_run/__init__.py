"""Cloud Run and Cloud Monitoring: the Admin API, services that split real requests, and their numbers.

Messages and their parsing are Google's own types (google.cloud.run_v2). Imports `fakecloud.registry`,
`identity` and `state`.
"""
