"""The requests and answers by which people sign in; no I/O."""
