import Configuration

extension Section {
    /// Reads a section `monitoring`, in the same words for every program: `listen`, `token_file`, `allowed_hosts` and
    /// `unprotected`.
    /// - Parameter checkingFiles: whether the token's file is to be looked at too, as `check` does.
    /// - Returns: nil if there is no endpoint.
    public func httpEndpoint(checkingFiles: Bool) -> HTTPEndpointSettings? {
        let address = optional("listen", as: .listenAddress)
        let tokenFile = optional("token_file", as: .text)
        let hosts = list("allowed_hosts", as: .hostName)
        let isUnprotected = value("unprotected", as: .boolean, default: false)
        if checkingFiles, let tokenFile {
            do throws(TokenFile.Problem) {
                _ = try TokenFile(tokenFile).read()
            } catch {
                problem("\(error)", at: "token_file")
            }
        }
        if isUnprotected, tokenFile != nil {
            problem("token_file and unprotected exclude each other: leave one of them out", at: "unprotected")
        }
        guard let address else { return nil }
        let settings = HTTPEndpointSettings(
            address: address, tokenFile: tokenFile, allowedHosts: hosts, isUnprotected: isUnprotected)
        if settings.isExposed { problem(HTTPEndpointError.exposed(address).description, at: "listen") }
        return settings
    }
}

extension Setting where Value == HTTPEndpointSettings.Address {
    /// Where an HTTP endpoint listens.
    static var listenAddress: Setting {
        Setting(
            expected: "an IP address and a port such as 127.0.0.1:9464, or a socket such as unix:/run/vigie/vigie.sock",
            standIn: .network(host: "127.0.0.1", port: 0)
        ) { HTTPEndpointSettings.Address($0) }
    }
}

extension Setting where Value == String {
    /// The name of a host, without a scheme or a port; read in lower case.
    static var hostName: Setting {
        Setting(expected: "a host's name without its port, such as board-7.example", standIn: "") { text in
            let name = text.lowercased()
            guard HostRule.host(name) == name, !name.isEmpty, name.utf8.count <= 253,
                name.utf8.allSatisfy({ byte in
                    (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte)
                        || [UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_")].contains(byte)
                })
            else { return nil }
            return name
        }
    }
}
