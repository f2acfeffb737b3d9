"""One module per kind of thing on a device: its state, its probe, and what is particular about it."""
