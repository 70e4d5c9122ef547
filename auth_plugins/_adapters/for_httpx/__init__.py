"""What the adapters of httpx and httpx2 share; this imports neither."""
