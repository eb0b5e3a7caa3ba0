"""The command `audit`: clients, faults from a seed, and a checker that believes what it can read.

`workload` is what the clients send, `recorder` keeps the history of it, `nemesis` lets faults
happen, `quiesce` waits until all is quiet, `checker` compares the history with the table, and
`runner` puts them in order. `asker` asks for all events meanwhile, and `questions` judges what it
was told. `server` is the real server with failpoints and seeded bugs patched in from outside, so
that the product itself carries none of them.
"""
