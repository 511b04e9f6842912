"""Starts, breaks and measures the servers that Vigie is demonstrated, tested and measured with.

processes   child processes, their logs, and waiting
ports       free ports of the loopback interface
checkout    the folders of the project
interrupts  Ctrl-C and other signals, from a command's first moment on
arguments   types of command-line arguments
postgres    a PostgreSQL of our own
kafka       Apache Kafka: finding it, nodes and clusters of our own, certificates, users, rights
stand_in    the small broker for where Apache Kafka cannot be had
proxy       a TCP proxy whose connections can be cut, reset, delayed, throttled and swallowed
servers     which broker and which PostgreSQL a command runs against
storm       Vigie under seeded faults, and an oracle that trusts nothing of it
versions    what it ran against
benchmark   what the benchmarks share
dashboard   the dashboard on a database with a known history, for its tests and benchmarks
"""
