"""The dashboard on a database with a known history, for its tests and its benchmarks."""
