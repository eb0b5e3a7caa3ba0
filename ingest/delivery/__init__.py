"""How an event gets to Postgres: intake, queue, writers, retries, fallback, replay."""
