"""Live: what is new is read once a second, if somebody watches, and sent to all who do."""
