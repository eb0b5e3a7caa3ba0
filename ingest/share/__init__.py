"""What the processes of one server share: a segment of memory that outlives each worker of it."""
