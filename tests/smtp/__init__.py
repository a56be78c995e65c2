"""Tests of SMTP without I/O; they share a driver."""
