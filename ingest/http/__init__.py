"""How events arrive: the HTTP routes and the protocol underneath them."""
