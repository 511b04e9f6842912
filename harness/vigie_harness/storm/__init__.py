"""The storm: Vigie under seeded faults, and an oracle that trusts nothing of it.

    schedule    which faults come when: pure, from a seed
    faults      what each kind of fault does, a class a kind
    members     the processes that faults kill, pause and stop, and the ends of processes that nobody asked for
    world       everything that runs: gateways with their outboxes, processors, Kafka, PostgreSQL, proxies between them
    disk        a small file system for each outbox
    tap         a consumer of its own that remembers the topic
    poller      remembers what stood in the outboxes
    witness     what both saw, as tables for the oracle
    oracle      SQL of its own: what the tables must say about what was seen
    planted     faults of data, each of which the oracle must find
    report      the timeline, the counts, and the smallest story of a failure
    run         one storm from start to verdict
    command     the command line, `vigie-storm`

The schedule is the same for the same seed, number of faults, nodes and abilities of the machine. What processes do in
between is not, so a failure may take several runs to come again.
"""
