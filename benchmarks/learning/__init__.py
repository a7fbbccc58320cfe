"""What balanced training learns, against its peers: `python -m benchmarks.learning --help`."""
