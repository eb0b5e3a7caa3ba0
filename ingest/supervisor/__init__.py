"""The supervisor: makes what serves, watches it, and takes no events itself.

It imports neither what speaks HTTP nor what speaks to Postgres: it lives as long as the server, and
is to cost next to nothing.
"""
