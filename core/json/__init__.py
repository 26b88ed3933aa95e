"""TensorFlow Serving's JSON: fast where it can be, exact where it must be.

`document` is the room's door for requests, `array_text` for answers. Belongs here: everything that knows how JSON
becomes arrays and arrays become JSON, down to the last error text. Does not belong here: paths, status codes and what
a body is for (`core.rest`).
"""
