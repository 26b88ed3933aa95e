"""The room of http2."""
