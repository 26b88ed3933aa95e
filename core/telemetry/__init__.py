"""The room of telemetry."""
