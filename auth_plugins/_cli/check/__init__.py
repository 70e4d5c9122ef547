"""``auth-plugins check``: what is configured, tried step by step, and explained."""
