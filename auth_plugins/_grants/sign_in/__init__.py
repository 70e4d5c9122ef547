"""Grants for which a person signs in."""
