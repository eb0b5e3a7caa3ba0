"""The query API: questions over HTTP, on a port of its own. Whoever may read is known by a key."""
