import Platform

/// The files of a configuration that a client reads when it is made: certificates, keys and the password.
public struct KafkaFiles: Sendable {
    /// What the files held at one time. Two are equal if no file has changed. Holds no secret.
    public struct Fingerprint: Sendable, Equatable {
        fileprivate var hash: Int
    }

    /// The largest file that is looked at as a whole.
    private static let limit = 4 * 1024 * 1024

    /// The paths of the files.
    public let paths: [String]

    /// Names the files of a configuration.
    public init(of configuration: KafkaConfiguration) {
        let named = [
            configuration.certificateAuthorityFile, configuration.certificateFile, configuration.keyFile,
            configuration.passwordFile,
        ]
        let others = configuration.properties.filter { KafkaConfiguration.namesFile($0.key) }.map(\.value)
        paths = named.compactMap { $0 } + others.sorted()
    }

    /// Whether there is none.
    public var isEmpty: Bool { paths.isEmpty }

    /// Reads the files, on a thread of its own, as the disk may be slow.
    public func fingerprint() async -> Fingerprint {
        await onOwnThread("kafka-files") { read() }
    }

    private func read() -> Fingerprint {
        // Seeded anew by each process, so nothing can be told of a password by it.
        var hasher = Hasher()
        for path in paths {
            hasher.combine(path)
            do throws(SystemError) {
                hasher.combine(try readFile(path, limit: Self.limit))
            } catch {
                hasher.combine(error.code)
            }
        }
        return Fingerprint(hash: hasher.finalize())
    }
}
