"""Programs that each run in one client's environment, and what they have in common, for which any Python is enough."""
