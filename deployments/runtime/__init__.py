"""The room of runtime."""
