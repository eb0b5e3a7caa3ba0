"""How the server is watched: metrics and logs."""
