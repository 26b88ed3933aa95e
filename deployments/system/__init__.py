"""What is had from the operating system and the interpreter: loops, threads, locks, ports, clocks, installed versions.

Belongs here: what would serve another program as well. Does not belong here: anything that knows models, requests or
Serve. Uses no other room.
"""
