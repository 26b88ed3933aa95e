"""The page with metrics for everybody's Prometheus, written by prometheus-client from the sums of our ledger.

Belongs here: the collector over the sums, and the endpoint. Does not belong here: names and negotiation
(`core.exposition`), TensorFlow Serving's page (`deployments.rest`), counting (`deployments.telemetry`).
"""
