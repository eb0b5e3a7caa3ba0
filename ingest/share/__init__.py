"""What the processes of one server share."""
