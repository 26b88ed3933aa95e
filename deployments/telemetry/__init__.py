"""Metrics, logs and spans of this process, and their export.

Belongs here: the registry of metrics, their collection over processes, set-up of logging, export of spans. Does not
belong here: formats and sums (`core.telemetry`), and the pages that show them (`deployments.rest`).
"""
