"""The load client, which every command that measures a server may use, and the command `load`."""
