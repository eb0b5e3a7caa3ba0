"""What senders see while a month of events goes from Postgres."""
