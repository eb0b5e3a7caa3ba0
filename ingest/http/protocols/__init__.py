"""How existing SDKs send: their routes, where their key is, and what their bodies mean.

One module a protocol; what becomes of their events is the same as of all others. `route.py` says
what happens to a request, `dialect.py` what a protocol has to know.
"""
