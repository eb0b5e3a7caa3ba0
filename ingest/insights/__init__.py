"""Questions about events, and their answers: over a relation of one app's events in DuckDB.

It knows no HTTP and no Postgres. `engine.answer` is the way in; what can be asked is in
`questions.py`, what comes back in `answers.py`, and each definition in the module of its name.
"""
