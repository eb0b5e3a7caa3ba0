"""Where events rest: the only layer that speaks to Postgres."""
