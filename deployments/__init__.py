"""Shells around `core`: everything that awaits, opens, sleeps, or talks to Ray, storage and TensorFlow's runtime."""
