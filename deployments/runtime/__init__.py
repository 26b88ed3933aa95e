"""TensorFlow's C API, and everything that is loaded through it.

The only room that knows the library: opening it, sessions, tensors in its memory, SavedModels. Does not belong here:
when and with which inputs a session runs (`deployments.inference`).
"""
