"""What an event is and looks like: decoding, ids, the COPY format, JSON."""
