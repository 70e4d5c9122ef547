"""How requests carries a token, follows redirects and replays."""
