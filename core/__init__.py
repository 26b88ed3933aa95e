"""Decisions of the model server: pure functions over frozen values, without Ray, TensorFlow, network or clock."""
