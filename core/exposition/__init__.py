"""The page with metrics for everybody's Prometheus: names, units and help texts, and what a scrape asks for.

Belongs here: how our metrics are called on that page, and how a scrape's headers are read. Does not belong here: what
is counted, and TensorFlow Serving's own page (`core.telemetry`); writing the page (`deployments.exposition`).
"""
