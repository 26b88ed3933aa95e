"""The room of commands."""
