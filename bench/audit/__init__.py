"""The fault audit: clients, faults from a seed, and a judge that believes only what it can read.

`oracle` keeps the history, `clients` make it, `faults` disturb it, `judge` compares it with the
table, `course` puts them in order. `server` is the real server with failpoints and seeded bugs
patched in from outside, so that the product itself carries none of them.
"""
