"""The platforms that run versions, one small module each behind `core.platforms.platform.Platform`.

Belongs here: what is needed to load and run one kind of model. Does not belong here: TensorFlow's C API
(`deployments.runtime`), and what is done with a servable whichever platform it came from (`deployments.inference`).
A module is imported only in the process of a version that needs it.
"""
