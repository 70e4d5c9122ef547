"""Where a grant with an issuer has its endpoints: the metadata are fetched, and kept."""
