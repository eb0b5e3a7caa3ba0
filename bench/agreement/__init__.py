"""Whether two readers of the same bytes agree, a command a file: `documents` and `fuzz`."""
