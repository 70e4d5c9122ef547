"""What the adapters of the three libraries share: where a token goes, and what a refusal means."""
