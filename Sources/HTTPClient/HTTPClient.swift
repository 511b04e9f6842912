import CCurl
import Glibc
import Platform

/// A client for short requests by HTTP, on libcurl's easy handle, whose owner it is; connections are kept for the next
/// request. Every call blocks: use it from one thread at a time that is not of Swift's cooperative pool.
///
/// It speaks http and https alone, checks the server's certificate and name, and follows no redirect: an answer of 3xx
/// is an answer, so neither a body nor a token goes where nobody sent it. Proxies are those of libcurl's environment
/// variables (https_proxy, no_proxy ...), but never for this machine itself.
public final class HTTPClient {
    /// How long an answer may take and how large it may be.
    public struct Limits: Sendable, Equatable {
        /// Until the connection stands, TLS included.
        public var connect: Duration
        /// Until the answer is there as a whole.
        public var total: Duration
        /// The most bytes of an answer's content.
        public var answerSize: Int

        /// Makes limits.
        public init(
            connect: Duration = .seconds(5), total: Duration = .seconds(10), answerSize: Int = 1 << 20
        ) {
            self.connect = connect
            self.total = total
            self.answerSize = answerSize
        }
    }

    /// A header field of a request.
    public struct Header: Sendable, Equatable {
        /// Its name.
        public var name: String
        /// Its value.
        public var value: String

        /// Makes a field; what HTTP does not allow is refused with the request.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// What a server answered.
    public struct Answer: Sendable, Equatable {
        /// The status code (RFC 9110, section 15).
        public var status: Int
        /// The content.
        public var body: [UInt8]

        /// Whether the status says that it worked: 2xx.
        public var isSuccess: Bool { (200...299).contains(status) }
    }

    private static let globalStatus = vigie_curl_global_init()

    private let handle: UnsafeMutableRawPointer
    private let reason = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private let limits: Limits
    private let authorities: String?

    /// Makes a client.
    /// - Parameters:
    ///   - limits: for each request.
    ///   - authorities: a file in PEM form with the certificates to trust; nil for the system's.
    public init(limits: Limits = Limits(), authorities: String? = nil) throws(HTTPClientError) {
        guard HTTPClient.globalStatus == CURLE_OK, let handle = curl_easy_init() else {
            throw .unusable(reason: String(cString: curl_easy_strerror(HTTPClient.globalStatus)))
        }
        self.handle = handle
        self.limits = limits
        self.authorities = authorities
    }

    deinit {
        curl_easy_cleanup(handle)
        reason.deallocate()
    }

    /// Asks for what is at an address.
    /// - Parameter socket: the path of a Unix socket to ask by, whatever the address' host and port are.
    public func get(
        _ address: HTTPAddress, headers: [Header] = [], by socket: String? = nil
    ) throws(HTTPClientError) -> Answer {
        try perform(address, headers, body: nil, by: socket)
    }

    /// Sends a content to an address.
    /// - Parameters:
    ///   - body: the content; its type is in a Content-Type among the headers.
    ///   - isWanted: asked about once a second; once it says no, the request is given up.
    public func post(
        _ address: HTTPAddress, headers: [Header] = [], body: [UInt8], isWanted: () -> Bool = { true }
    ) throws(HTTPClientError) -> Answer {
        try withoutActuallyEscaping(isWanted) { isWanted throws(HTTPClientError) in
            try perform(address, headers, body: body, isWanted: isWanted)
        }
    }

    // MARK: One request

    /// What comes in, with its bound.
    private struct Sink {
        var body: [UInt8] = []
        let limit: Int
        let isWanted: () -> Bool
        var isFull = false
    }

    private func perform(
        _ address: HTTPAddress, _ headers: [Header], body: [UInt8]?, by socket: String? = nil,
        isWanted: @escaping () -> Bool = { true }
    ) throws(HTTPClientError) -> Answer {
        let list = try HeaderList(headers)
        // Keeps connections, forgets all options.
        curl_easy_reset(handle)
        reason.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        try configure(address)
        if let socket { try check(vigie_curl_set_text(handle, CURLOPT_UNIX_SOCKET_PATH, socket)) }
        try check(vigie_curl_set_headers(handle, list.first))
        var sink = Sink(limit: limits.answerSize, isWanted: isWanted)
        let code = withUnsafeMutablePointer(to: &sink) { sink in
            (body ?? []).withUnsafeBytes { bytes -> CURLcode in
                var code = vigie_curl_set_sink(handle, take, sink)
                if code == CURLE_OK { code = vigie_curl_set_progress(handle, goOn, sink) }
                if code == CURLE_OK, body != nil {
                    code = vigie_curl_set_body(handle, bytes.baseAddress, curl_off_t(bytes.count))
                }
                return code == CURLE_OK ? curl_easy_perform(handle) : code
            }
        }
        // The list goes when this returns, so the handle must not know it any more.
        _ = withExtendedLifetime(list) { vigie_curl_set_headers(handle, nil) }
        if sink.isFull { throw .answerTooLarge(address, limit: limits.answerSize) }
        guard code == CURLE_OK else {
            let text = String(cString: reason)
            throw HTTPClientError(
                code, at: address, reason: text.isEmpty ? String(cString: curl_easy_strerror(code)) : text)
        }
        return Answer(status: vigie_curl_status(handle), body: sink.body)
    }

    private let take: @convention(c) (UnsafeMutablePointer<CChar>?, Int, Int, UnsafeMutableRawPointer?) -> Int = {
        bytes, size, count, context in
        guard let bytes, let context else { return 0 }
        let sink = context.assumingMemoryBound(to: Sink.self)
        let length = size * count
        guard length <= sink.pointee.limit - sink.pointee.body.count else {
            sink.pointee.isFull = true
            return 0
        }
        sink.pointee.body.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: length))
        return length
    }

    private typealias Progress =
        @convention(c) (UnsafeMutableRawPointer?, curl_off_t, curl_off_t, curl_off_t, curl_off_t) -> Int32

    private let goOn: Progress = { context, _, _, _, _ in
        context?.assumingMemoryBound(to: Sink.self).pointee.isWanted() == false ? 1 : 0
    }

    private func configure(_ address: HTTPAddress) throws(HTTPClientError) {
        try check(vigie_curl_set_error_buffer(handle, reason))
        let texts = [
            (CURLOPT_URL, address.text), (CURLOPT_PROTOCOLS_STR, "http,https"), (CURLOPT_USERAGENT, "vigie"),
        ]
        for (option, text) in texts { try check(vigie_curl_set_text(handle, option, text)) }
        if address.isLoopback { try check(vigie_curl_set_text(handle, CURLOPT_PROXY, "")) }
        if let authorities { try check(vigie_curl_set_text(handle, CURLOPT_CAINFO, authorities)) }
        let numbers = [
            // Signals belong to the program, not to its libraries.
            (CURLOPT_NOSIGNAL, 1), (CURLOPT_FOLLOWLOCATION, 0), (CURLOPT_SSL_VERIFYPEER, 1),
            (CURLOPT_SSL_VERIFYHOST, 2), (CURLOPT_CONNECTTIMEOUT_MS, milliseconds(limits.connect)),
            (CURLOPT_TIMEOUT_MS, milliseconds(limits.total)),
        ]
        for (option, number) in numbers { try check(vigie_curl_set_number(handle, option, number)) }
    }

    /// Zero would mean no bound.
    private func milliseconds(_ duration: Duration) -> Int {
        Int(clamping: max(1, duration.millisecondsRoundedDown))
    }

    private func check(_ code: CURLcode) throws(HTTPClientError) {
        guard code == CURLE_OK else { throw .unusable(reason: String(cString: curl_easy_strerror(code))) }
    }
}

/// libcurl's list of header lines, and its owner.
private final class HeaderList {
    private(set) var first: UnsafeMutablePointer<curl_slist>?

    init(_ headers: [HTTPClient.Header]) throws(HTTPClientError) {
        for header in headers {
            guard HeaderList.isAllowed(header) else { throw .invalidHeader(header.name) }
            try append("\(header.name): \(header.value)")
        }
        // Without an end of the wait for "100 Continue", small contents would go a second late to old servers.
        try append("Expect:")
    }

    deinit {
        curl_slist_free_all(first)
    }

    private func append(_ line: String) throws(HTTPClientError) {
        guard let longer = curl_slist_append(first, line) else { throw .unusable(reason: "no memory") }
        first = longer
    }

    /// A token, and a value of visible characters, spaces and tabs (RFC 9110, section 5).
    private static func isAllowed(_ header: HTTPClient.Header) -> Bool {
        let marks = Array("!#$%&'*+-.^_`|~".utf8)
        return !header.name.isEmpty && !header.value.isEmpty
            && header.name.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20) && byte < 0x80
                    || marks.contains(byte)
            }
            && header.value.utf8.allSatisfy { $0 == 0x09 || $0 >= 0x20 && $0 != 0x7f }
    }
}
