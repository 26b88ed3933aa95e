"""TensorFlow's C API, and what is loaded through it.

The only room that knows the library: opening it, sessions, tensors in its memory, SavedModels. Does not belong here:
when and with what a session runs (`deployments.inference`).
"""
