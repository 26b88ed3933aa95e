"""Profiles: what is asked for, what was recorded, and the files that Perfetto and TensorBoard read.

Belongs here: requests for recordings with their bounds, recordings, their files, and the messages of TensorFlow's
profiler service. Does not belong here: sampling threads and tracing runs (`deployments.inference`), and finding the
replicas to record (`deployments.routing`).
"""
