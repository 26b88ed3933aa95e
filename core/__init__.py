"""Decides: what a configuration means, what happens next to a version, what a request asks for and what it is answered.

Pure functions over frozen values, in rooms. Nothing here awaits, opens a file or a socket, reads a clock or the
environment, or imports Ray, gRPC or TensorFlow: that is `deployments`. A room may use the rooms below it in the
contract "core: arrows run down" of pyproject.toml, and only those. At the root stand the errors, which everything
raises, and `methods`, the table of which function answers which method.
"""
