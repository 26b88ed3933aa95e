"""Files, flags and YAML, and the frozen values that they become.

Belongs here: parsing of models.config and the smaller text files, TensorFlow Serving's flags and ours, the YAML
settings, version policies as configured, and the options of TensorFlow's session. Does not belong here: reading files
from disk (`deployments.config`), and the decisions that follow from a configuration (`core.versions`). Uses only the
errors and `core.protos`.
"""
