"""The room of recording."""
