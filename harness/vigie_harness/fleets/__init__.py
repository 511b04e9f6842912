"""Hostile fleets: sent to a real broker, read by a real processor, and every message accounted for.

`table` holds the fleets of Tests/Fleets/fleets.toml; `run` has some of them read by one processor; `account`
compares what became of each message with what the fleets say; `command` is the command line.
"""
