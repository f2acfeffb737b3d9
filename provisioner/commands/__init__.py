"""What each command of the command line does; `run(options)` returns its exit code."""
