"""One TLS connection to the venue, and being somebody on it."""
