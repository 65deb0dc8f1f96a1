"""Planning: from what a person typed to runs with keys. Never imports torch."""
