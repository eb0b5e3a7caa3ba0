"""The composition root: what the server is made of, what starts and stops, and in which order."""
