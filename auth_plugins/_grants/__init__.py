"""What is asked for: one grant per file."""
