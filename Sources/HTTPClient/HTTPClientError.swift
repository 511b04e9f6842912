import CCurl

/// Why a request got no answer. An answer with any status is an answer, not an error.
public enum HTTPClientError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Not a complete http or https address.
    case invalidAddress
    /// A header's name or value has a character that HTTP does not allow there; the name, never the value.
    case invalidHeader(String)
    /// Nobody answers at this host and port, or the name is not known.
    case unreachable(HTTPAddress, reason: String)
    /// The time-out passed before the whole answer was there.
    case timedOut(HTTPAddress, reason: String)
    /// The server cannot be trusted, or TLS does not come about.
    case insecure(HTTPAddress, reason: String)
    /// Whoever asked did not want to wait any longer.
    case givenUp(HTTPAddress)
    /// The answer is longer than allowed.
    case answerTooLarge(HTTPAddress, limit: Int)
    /// libcurl's other errors (CURLcode).
    case failed(HTTPAddress, code: UInt32, reason: String)
    /// libcurl gave no handle or did not take an option: no memory, or a library that was built without HTTP.
    case unusable(reason: String)

    /// What failed and what to do, in one line, without the path, which may hold a secret.
    public var description: String {
        switch self {
        case .invalidAddress:
            "not a complete address; write one such as https://alerts.example.org/vigie"
        case .invalidHeader(let name):
            "the header \(name) holds a character that HTTP does not allow, such as the end of a line"
        case .unreachable(let address, let reason):
            "\(address) cannot be reached: \(reason)"
        case .timedOut(let address, let reason):
            "\(address) did not answer in time: \(reason)"
        case .insecure(let address, let reason):
            "\(address) cannot be trusted: \(reason); check its certificate, or name its authority's file"
        case .givenUp(let address):
            "the request to \(address) was given up"
        case .answerTooLarge(let address, let limit):
            "\(address) answered with more than \(limit) bytes"
        case .failed(let address, let code, let reason):
            "\(address): \(reason) (libcurl \(code))"
        case .unusable(let reason):
            "libcurl cannot be used: \(reason)"
        }
    }

    /// Sorts libcurl's errors (libcurl-errors(3)).
    init(_ code: CURLcode, at address: HTTPAddress, reason: String) {
        switch code {
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL:
            self = .invalidAddress
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT:
            self = .unreachable(address, reason: reason)
        case CURLE_ABORTED_BY_CALLBACK:
            self = .givenUp(address)
        case CURLE_OPERATION_TIMEDOUT:
            self = .timedOut(address, reason: reason)
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_ISSUER_ERROR, CURLE_SSL_CIPHER, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CERTPROBLEM:
            self = .insecure(address, reason: reason)
        default:
            self = .failed(address, code: code.rawValue, reason: reason)
        }
    }
}
