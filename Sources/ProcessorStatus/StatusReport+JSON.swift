import Monitoring
import Presentation

extension StatusReport {
    /// How many seconds of the past come with each status; a page that has missed more asks for all of it.
    static let recentPoints = 10

    /// What `/status.json` answers.
    var json: JSON {
        let (counts, size) = (counts, size)
        let latency = latency
        return [
            "version": .string(identity.version), "instance": .string(identity.instance),
            "host": .string(identity.host), "process_id": .of(identity.processID), "topic": .string(identity.topic),
            "group": .string(identity.group), "role": .string(identity.role.rawValue),
            "started_at": .of(identity.startedAt.milliseconds),
            "now": .of(now.milliseconds), "uptime_seconds": .number(uptime),
            "health": [
                "state": .string(state), "ready": .bool(isReady), "good": .bool(isGood),
                "parts": .array(parts.map { ["name": .string($0.name), "state": .string($0.state.text)] }),
            ],
            "database": ["trouble": .of(databaseTrouble), "missing": .of(database?.missing)],
            "process": [
                "cpu_share": .of(history.last?.cpuShare), "resident_bytes": .of(history.last?.residentBytes),
            ],
            "messages_per_second": .number(messagesPerSecond), "rows_per_second": .number(rowsPerSecond),
            "lag": .of(lag),
            "counts": [
                "messages": .of(counts.messages), "rows": .of(counts.rows), "duplicates": .of(counts.duplicates),
                "conflicts": .of(counts.conflicts), "late": .of(counts.late), "rejected": .of(counts.rejected),
                "windows": .of(counts.windows),
                "batches": .of(counts.batches),
            ],
            "state": [
                "sensors": .of(size.sensors), "panes": .of(size.panes), "windows": .of(size.windows),
                "bytes": .of(size.bytes),
            ],
            "alerts": database?.alerts.map { alerts in
                .array(
                    alerts.map {
                        ["kind": .string($0.kind), "severity": .string($0.severity), "count": .of($0.count)]
                    })
            } ?? .null,
            "latency": .object(latency.members + [.init(name: "buckets", value: latency.buckets)]),
            "stages": .array(
                LatencyStage.allCases.map { stage in
                    .object(
                        [
                            .init(name: "stage", value: .string(stage.rawValue)),
                            .init(name: "meaning", value: .string(stage.meaning)),
                        ] + self.latency(of: stage).members)
                }),
            "partitions": .array(
                pipelines.flatMap { pipeline in
                    pipeline.partitions.map { view in
                        [
                            "partition": .of(view.partition), "worker": .of(pipeline.worker),
                            "position": .of(view.position), "committed": .of(view.committed), "end": .of(view.end),
                            "lag": .of(view.lag),
                        ]
                    }
                }),
            "batches": .array(
                batches.map { [.of($0.time), .of($0.messages), .of($0.rows), .number($0.seconds)] }),
            "members": database.map { .array($0.members.map(\.json)) } ?? .null,
            "history": history(last: StatusReport.recentPoints),
        ]
    }

    /// What `/history.json` answers.
    var historyJSON: JSON { history(last: history.count) }

    private func history(last count: Int) -> JSON {
        [
            "columns": [
                "time", "messages_per_second", "rows_per_second", "batch_seconds", "lag", "latency_median",
                "latency_95", "cpu_share", "resident_bytes",
            ],
            "points": .array(
                history.suffix(count).map { point in
                    [
                        .of(point.time), .number(point.messagesPerSecond.rounded(to: 10)),
                        .number(point.rowsPerSecond.rounded(to: 10)), .of(point.batchSeconds?.rounded(to: 1e6)),
                        .of(point.lag), .of(point.latencyMedian?.rounded(to: 1e6)),
                        .of(point.latency95?.rounded(to: 1e6)), .of(point.cpuShare?.rounded(to: 1e4)),
                        .of(point.residentBytes),
                    ]
                }),
        ]
    }
}

extension Distribution {
    /// Its number of values and its percentiles, in seconds.
    fileprivate var members: [JSON.Member] {
        [
            .init(name: "count", value: .of(count)), .init(name: "p50", value: .of(quantile(0.5))),
            .init(name: "p95", value: .of(quantile(0.95))), .init(name: "p99", value: .of(quantile(0.99))),
            .init(name: "max", value: .of(maximum)),
        ]
    }

    /// From the first bucket that holds something to the last one: each one's upper bound (null: infinity) and count.
    fileprivate var buckets: JSON {
        guard let first = counts.firstIndex(where: { $0 > 0 }), let last = counts.lastIndex(where: { $0 > 0 }) else {
            return []
        }
        return .array((first...last).map { [.number(Distribution.upperBound($0)), .of(counts[$0])] })
    }
}

extension ProcessorMember {
    fileprivate var json: JSON {
        [
            "instance": .string(instance), "worker": .of(worker), "host": .string(host),
            "process_id": .of(processID), "version": .string(version),
            "partitions": .array(partitions.map { .of($0) }), "endpoint": .of(endpoint), "lag": .of(lag),
            "messages_per_second": .number(messagesPerSecond.rounded(to: 10)),
            "state": .string(isGone ? "gone" : state), "started_at": .of(startedAt.milliseconds),
            "age_seconds": .number(age.rounded(to: 10)),
        ]
    }
}

extension Double {
    /// Without the digits that nobody reads: to a tenth, say, for a scale of 10.
    fileprivate func rounded(to scale: Double) -> Double { (self * scale).rounded() / scale }
}
