"""The room of inference."""
