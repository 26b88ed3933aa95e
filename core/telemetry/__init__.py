"""What a process reports about itself: metrics, log lines, spans.

Belongs here: names, values and text formats of metrics, sums over processes, the form of log lines, trace contexts,
spans, and the rule that hides secrets. Does not belong here: counting, exporting and logging itself
(`deployments.telemetry`), and the request logs of models (`core.recording`). Uses `core.config`; knows nothing of
HTTP/2, models' tensors or REST's routes.
"""
