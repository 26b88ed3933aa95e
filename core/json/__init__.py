"""The room of json."""
