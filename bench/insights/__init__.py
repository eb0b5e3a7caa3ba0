"""Questions about events: Postgres alone beside the archive, and what asking costs ingestion."""
