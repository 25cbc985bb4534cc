"""TLS client policy of every outgoing connection: versions, ciphers, authorities, verification."""
