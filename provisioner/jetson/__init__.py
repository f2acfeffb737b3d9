"""What is known about Jetson: how to tell a device, which images it runs, and how these are pinned."""
