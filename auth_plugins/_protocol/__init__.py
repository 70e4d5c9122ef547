"""Requests and answers of OAuth 2.0: built, read, and redacted; no I/O."""
