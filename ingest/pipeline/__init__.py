"""How an event travels from a request's body to a committed row."""
