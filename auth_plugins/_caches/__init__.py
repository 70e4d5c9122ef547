"""Where tokens are kept: memory, files, Redis, or a cache of the user's own."""
