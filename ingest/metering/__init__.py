"""How much an app or a key may send, and who counts it."""
