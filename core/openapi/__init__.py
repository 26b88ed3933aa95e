"""The OpenAPI document of the REST port, which tools read at /openapi.json.

Belongs here: descriptions of paths, bodies and pages, of TensorFlow Serving's API and of the Open Inference Protocol.
Does not belong here: reading a request or writing an answer (`core.rest`, `core.oip`).
"""
