"""Services of the operating system and the interpreter: loops, threads, locks, ports, clocks, installed versions.

Belongs here: code that would be useful in another program, too. Does not belong here: anything that knows models,
requests or Serve. Uses no other room.
"""
