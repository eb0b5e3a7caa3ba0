"""What the tests are built on: a real Postgres, real server processes, raw connections."""
