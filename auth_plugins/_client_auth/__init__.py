"""How a client proves to the token endpoint who it is, where that takes more than a secret."""
