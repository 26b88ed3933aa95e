"""Faults under load: what breaks, for how long, and whether all is well afterwards. `make chaos` prints the table."""
