import Readings

/// What a process of the centre does.
package enum ProcessorRole: String, Sendable {
    /// Reads the topic, and keeps the tables in shape.
    case processing
    /// Only keeps the tables in shape and sends alerts to the webhook, beside another engine that reads the topic.
    case maintenance
}

/// Who this processor is; does not change while it runs.
package struct ProcessorIdentity: Sendable, Equatable {
    package var instance: String
    package var host: String
    package var processID: Int32
    package var version: String
    package var topic: String
    package var group: String
    package var startedAt: Timestamp
    package var role: ProcessorRole

    package init(
        instance: String, host: String, processID: Int32, version: String, topic: String, group: String,
        startedAt: Timestamp, role: ProcessorRole = .processing
    ) {
        self.instance = instance
        self.host = host
        self.processID = processID
        self.version = version
        self.topic = topic
        self.group = group
        self.startedAt = startedAt
        self.role = role
    }
}

/// A pipeline of a processor, as the table `processor` has it.
package struct ProcessorMember: Sendable, Equatable {
    package var instance: String
    package var worker: Int32
    package var host: String
    package var processID: Int32
    package var version: String
    package var partitions: [Int32]
    /// Where it answers, such as `http://127.0.0.1:9465/`; nil if nowhere.
    package var endpoint: String?
    package var lag: Int64?
    package var messagesPerSecond: Double
    /// `healthy`, `starting`, `degraded` or `failed`.
    package var state: String
    package var startedAt: Timestamp
    /// Since its last heartbeat, by the database's clock, seconds.
    package var age: Double

    /// After so many seconds without a heartbeat it counts as gone.
    package static let heartbeatTimeout = 15.0

    package var isGone: Bool { age > ProcessorMember.heartbeatTimeout }

    package init(
        instance: String, worker: Int32, host: String, processID: Int32, version: String, partitions: [Int32],
        endpoint: String?, lag: Int64?, messagesPerSecond: Double, state: String, startedAt: Timestamp, age: Double
    ) {
        self.instance = instance
        self.worker = worker
        self.host = host
        self.processID = processID
        self.version = version
        self.partitions = partitions
        self.endpoint = endpoint
        self.lag = lag
        self.messagesPerSecond = messagesPerSecond
        self.state = state
        self.startedAt = startedAt
        self.age = age
    }
}

/// Alerts of one kind that are open.
package struct OpenAlerts: Sendable, Equatable {
    package var kind: String
    package var severity: String
    package var count: Int64

    package init(
        kind: String, severity: String, count: Int64
    ) {
        self.kind = kind
        self.severity = severity
        self.count = count
    }
}

/// What only the database knows, as of the last look.
package struct DatabaseView: Sendable, Equatable {
    package var members: [ProcessorMember]
    /// Readings that were numbered and have not arrived, of all streams.
    package var missing: Int64
    /// Nil while the schema has no alerts.
    package var alerts: [OpenAlerts]?

    package init(
        members: [ProcessorMember], missing: Int64, alerts: [OpenAlerts]?
    ) {
        self.members = members
        self.missing = missing
        self.alerts = alerts
    }
}
