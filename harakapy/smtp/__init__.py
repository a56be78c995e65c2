"""SMTP with no I/O (RFC 5321): bytes in, typed events out, replies in, bytes out."""
