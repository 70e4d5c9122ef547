"""How a token request travels: by requests, httpx or httpx2."""
