"""Who a caller is: GitHub's identity tokens, Google's token exchange and service accounts.

Imports `fakecloud.state`.
"""
