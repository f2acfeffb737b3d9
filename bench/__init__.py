"""What a run costs, measured side by side with the tools that people use today: `python -m bench`."""
