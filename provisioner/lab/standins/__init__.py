"""Stand-ins for a device's own programs. They run inside the device, with nothing but Python's standard library.

They keep their state on the device's disk and print what the real programs print wherever a provisioner reads it. What
none of them knows an answer to ends in `state.unknown`: "not simulated", status 96; never a made-up success.
"""
