"""The look of a fleet behind one protocol, over each of the SSH libraries that could carry it.

A module each, with `session(way)`: an object that SshTransport can use, with open, send, receive and close.
"""
