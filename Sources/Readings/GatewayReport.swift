/// What a gateway tells of its streams: the second kind of message of schema 1.
///
/// The centre learns from it which streams an outbox ever had, where each ends, and why numbers never come. It may come
/// in any order and any number of times.
public struct GatewayReport: Sendable, Equatable {
    /// A run of numbers of one outbox.
    public struct Stream: Sendable, Equatable {
        /// The stream.
        public var streamID: StreamID
        /// Its first number, at least 1.
        public var first: Int64
        /// Its last number; nil while it runs, or if nobody knows it.
        public var last: Int64?
        /// The stream before it in the same outbox; nil if there is none.
        public var previous: StreamID?

        /// Makes the entry of a stream.
        public init(streamID: StreamID, first: Int64, last: Int64? = nil, previous: StreamID? = nil) {
            self.streamID = streamID
            self.first = first
            self.last = last
            self.previous = previous
        }
    }

    /// Why numbers never come.
    public enum GapReason: String, Sendable, CaseIterable {
        /// The outbox had reached a bound: its oldest readings went.
        case droppedOldest = "dropped_oldest"
        /// The outbox had reached a bound: new readings were not taken.
        case droppedNewest = "dropped_newest"
        /// The outbox had reached a bound: every second reading of a sensor went.
        case thinned
        /// The storage took nothing for so long that the queue in memory was full.
        case queueFull = "queue_full"
        /// The reading could not be read from the outbox's file.
        case unreadable
        /// The broker refuses the reading; it is kept on the board.
        case quarantined
        /// The gateway was stopped while the storage took nothing.
        case stopped
    }

    /// Numbers of a stream that do not come, and why.
    public struct Gap: Sendable, Equatable {
        /// The stream.
        public var streamID: StreamID
        /// Why.
        public var reason: GapReason
        /// The numbers, in order, disjoint.
        public var ranges: [ClosedRange<Int64>]

        /// Makes the entry of a gap.
        public init(streamID: StreamID, reason: GapReason, ranges: [ClosedRange<Int64>]) {
            self.streamID = streamID
            self.reason = reason
            self.ranges = ranges
        }
    }

    /// The gateway; also the message's key.
    public var gatewayID: Identifier
    /// The streams that are told of.
    public var streams: [Stream]
    /// The gaps that are told of.
    public var gaps: [Gap]

    /// Makes a report.
    public init(gatewayID: Identifier, streams: [Stream] = [], gaps: [Gap] = []) {
        self.gatewayID = gatewayID
        self.streams = streams
        self.gaps = gaps
    }

    /// Whether it tells nothing.
    public var isEmpty: Bool { streams.isEmpty && gaps.isEmpty }

    /// The report as one or more messages, each one JSON object (RFC 8259) of at most `limit` bytes.
    /// - Parameter limit: at least 1024; the contract's limit by default.
    public func encoded(limit: Int = Reading.maximumEncodedSize) -> [[UInt8]] {
        var messages: [[UInt8]] = []
        var streams = Batch(), gaps = Batch()
        let head = "{\"schema\":\(Reading.schema),\"gateway_id\":\"\(gatewayID)\",\"report\":{\"streams\":["
        let middle = "],\"gaps\":["
        let tail = "]}}"
        let room = limit - head.utf8.count - middle.utf8.count - tail.utf8.count
        func close() {
            guard !streams.text.isEmpty || !gaps.text.isEmpty else { return }
            messages.append(Array((head + streams.text + middle + gaps.text + tail).utf8))
            (streams, gaps) = (Batch(), Batch())
        }
        func close(before size: Int) {
            if streams.size + gaps.size + size > room { close() }
        }
        for stream in self.streams {
            let text = stream.encoded
            close(before: text.utf8.count + 1)
            streams.append(text)
        }
        for gap in self.gaps {
            // A gap of many ranges is told in parts.
            var part = Batch()
            let (start, end) = (
                "{\"stream_id\":\"\(gap.streamID)\",\"reason\":\"\(gap.reason.rawValue)\",\"ranges\":[", "]}"
            )
            let frame = start.utf8.count + end.utf8.count + 1
            func add() {
                if !part.text.isEmpty { gaps.append(start + part.text + end) }
                part = Batch()
            }
            close(before: frame + 64)
            for range in gap.ranges {
                let text = "[\(range.lowerBound),\(range.upperBound)]"
                if streams.size + gaps.size + frame + part.size + text.utf8.count + 1 > room {
                    add()
                    close()
                }
                part.append(text)
            }
            add()
        }
        close()
        return messages
    }

    /// Elements of a JSON array.
    private struct Batch {
        private(set) var text = ""
        /// Its length in bytes.
        var size: Int { text.utf8.count }

        mutating func append(_ element: String) {
            if !text.isEmpty { text += "," }
            text += element
        }
    }
}

extension GatewayReport.Stream {
    fileprivate var encoded: String {
        var text = "{\"stream_id\":\"\(streamID)\",\"first\":\(first)"
        if let last { text += ",\"last\":\(last)" }
        text += ",\"previous\":"
        text += previous.map { "\"\($0)\"" } ?? "null"
        return text + "}"
    }
}
