"""How a server grows with its workers: several, each with a share of a core."""
