"""PREFIX_* variables to a grant and arguments."""
