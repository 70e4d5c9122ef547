"""When a token is fetched."""
