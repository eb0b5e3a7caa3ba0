"""The command `compare`: our server, its peers and its ceilings against each other."""
