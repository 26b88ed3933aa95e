"""The room of versions."""
