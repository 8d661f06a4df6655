"""One server per file: what a user of each peer would write, plus the benchmark's control protocol."""
