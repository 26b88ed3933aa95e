"""TensorFlow Serving's JSON: fast where it can be, exact where it must be.

`document` is the room's door for requests: bytes of a body to arrays or values. `array_text` is the door for answers:
arrays to bytes. Belongs here: everything that knows how JSON becomes arrays and arrays become JSON, down to the last
error text. Does not belong here: paths, status codes and the session run that a body asks for (`core.rest`).
"""
