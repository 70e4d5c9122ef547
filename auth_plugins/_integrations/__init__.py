"""Plugins for tools that users have: pytest and HTTPie; and what ``auth_plugins.testing`` consists of."""
