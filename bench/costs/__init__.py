"""What the server costs, a command a file: `alloc`, `batch`, `idle` and `stages`."""
