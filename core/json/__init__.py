"""TensorFlow Serving's JSON: fast where it can be, exact where it must be.

`document` is the room's door for requests: it takes the bytes of a body and gives arrays or values. `array_text` is the
door for answers: it takes arrays and gives the bytes. Belongs here: everything that knows how JSON becomes arrays and
arrays become JSON, down to the last error text. Does not belong here: paths, status codes and which session run a body
asks for (`core.rest`).
"""
