// swift-tools-version: 6.0
// The whole of Vigie. Dependencies point one way: from the programs at the bottom of this file
// to the libraries above them, never back (see CONTRIBUTING.md, "Where things are").
import PackageDescription

let cLibraries: [Target] = [
    .systemLibrary(name: "CPlatform"),
    // Not by pkg-config: from Debian 13 on libcurl.pc, which rdkafka.pc requires, asks for Kerberos with a flag that SwiftPM
    // refuses, with a warning at every build. Headers and libraries are where the compiler looks anyway.
    .systemLibrary(name: "CRdkafka", providers: [.apt(["librdkafka-dev"])]),
    .systemLibrary(name: "CCurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CMicrohttpd", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
    .systemLibrary(name: "CGPIOD", pkgConfig: "libgpiod", providers: [.apt(["libgpiod-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CI2C", providers: [.apt(["libi2c-dev"])]),
    // What is more than a line in C: the two interfaces of libgpiod, sockets and a TLS handshake.
    .target(name: "CGPIO", dependencies: ["CGPIOD"]),
    .target(name: "CNetwork", dependencies: ["COpenSSL"]),
    // simdjson is C++; this target gives it a C face with one call a message.
    .target(
        name: "CReadingParser",
        linkerSettings: [.linkedLibrary("simdjson"), .linkedLibrary("stdc++")]),
]

let libraries: [Target] = [
    // The contract on the wire.
    .target(name: "Readings"),
    .target(name: "ReadingDecoding", dependencies: ["Readings", "CReadingParser"]),

    // Plumbing that both programs share.
    .target(name: "Platform", dependencies: ["CPlatform"]),
    .target(name: "Commands", dependencies: ["Platform", "CPlatform"]),
    .target(name: "Presentation"),
    .target(name: "Configuration", dependencies: ["Platform", "CYAML"]),
    .target(name: "Monitoring", dependencies: ["Platform", "Configuration", "CPlatform", "CMicrohttpd"]),
    .target(name: "HTTPClient", dependencies: ["Platform", "CCurl"]),
    .target(name: "NetworkProbe", dependencies: ["Platform", "CNetwork", "CPlatform"]),
    .target(name: "KafkaClient", dependencies: ["Platform", "NetworkProbe", "CRdkafka"]),
    .target(name: "KafkaSettings", dependencies: ["Configuration", "KafkaClient"]),
    .target(name: "PostgresClient", dependencies: ["Platform", "NetworkProbe", "CPostgres"]),

    // The edge.
    .target(name: "SensorBus", dependencies: ["Platform", "CGPIO", "CI2C"]),
    .target(name: "SensorDrivers", dependencies: ["SensorBus", "Readings", "Platform"]),
    .target(name: "SimulatedHardware", dependencies: ["SensorBus", "Readings", "Platform"]),
    .target(name: "Outbox", dependencies: ["Platform", "CPlatform", "Readings", "CSQLite"]),
    .target(
        name: "GatewayCore",
        dependencies: [
            "Readings", "Platform", "Presentation", "Configuration", "Monitoring", "KafkaClient",
            "KafkaSettings", "NetworkProbe", "SensorBus", "SensorDrivers", "SimulatedHardware", "Outbox",
        ]),
    // What a person at the board calls: scan, sample, doctor, calibrate.
    .target(
        name: "BoardTools",
        dependencies: [
            "GatewayCore", "Readings", "Platform", "Presentation", "Configuration", "Monitoring", "KafkaClient",
            "NetworkProbe", "SensorBus", "SensorDrivers", "Outbox", "CPlatform",
        ]),
    // Simulated chips as devices of the kernel.
    .target(
        name: "KernelHardware",
        dependencies: ["SimulatedHardware", "SensorBus", "Readings", "Platform", "Presentation", "CPlatform"]),

    // The centre.
    .target(name: "Windowing", dependencies: ["Readings"]),
    .target(name: "Alerting", dependencies: ["Readings", "Windowing"]),
    // What a processor shows of itself: the page, the text of `status`, metrics.
    .target(
        name: "ProcessorStatus",
        dependencies: ["Readings", "Platform", "Presentation", "Configuration", "Monitoring", "HTTPClient"],
        // Part of the program itself, so that a board or a container needs one file.
        resources: [.embedInCode("Page")]),
    .target(
        name: "ProcessorCore",
        dependencies: [
            "Readings", "ReadingDecoding", "Platform", "Presentation", "Configuration", "Monitoring", "KafkaClient",
            "KafkaSettings", "PostgresClient", "Windowing", "Alerting", "HTTPClient", "ProcessorStatus",
        ],
        resources: [.embedInCode("Store/Schema")]),

    // Load and trouble for both.
    .target(name: "FleetCore", dependencies: ["Readings", "Platform", "KafkaClient"]),
]

let programs: [Target] = [
    .executableTarget(
        name: "vigie-gateway",
        dependencies: ["BoardTools", "GatewayCore", "Commands", "Outbox", "Platform", "Presentation"]),
    .executableTarget(
        name: "vigie-simbus",
        dependencies: ["KernelHardware", "SimulatedHardware", "GatewayCore", "Readings", "Platform", "Commands"]),
    .executableTarget(
        name: "vigie-processor", dependencies: ["ProcessorCore", "ProcessorStatus", "Commands", "Readings"]),
    // For Benchmarks/outbox alone: it is no product and in no package.
    .executableTarget(
        name: "outbox-benchmark", dependencies: ["Outbox", "Readings", "Platform", "CSQLite", "CRdkafka"],
        path: "Benchmarks/OutboxBenchmark"),
    .executableTarget(name: "vigie-fleet", dependencies: ["FleetCore", "Commands", "Platform"]),
]

let tests: [Target] = [
    // What several test targets need: seeds that are printed; a bus, a clock and a server that do as a test tells them.
    .target(name: "TestSupport", dependencies: ["Platform", "Readings", "SensorBus"], path: "Tests/TestSupport"),
    // librdkafka's imitation of a cluster.
    .target(
        name: "KafkaTestSupport", dependencies: ["KafkaClient", "Platform", "CRdkafka"],
        path: "Tests/KafkaTestSupport"),
    .testTarget(name: "ReadingsTests", dependencies: ["Readings", "ReadingDecoding", "Platform", "TestSupport"]),
    .testTarget(name: "PlatformTests", dependencies: ["Platform", "TestSupport"]),
    .testTarget(name: "CommandsTests", dependencies: ["Commands", "Platform"]),
    .testTarget(name: "PresentationTests", dependencies: ["Presentation"]),
    .testTarget(name: "ConfigurationTests", dependencies: ["Configuration", "Platform", "TestSupport"]),
    .testTarget(name: "MonitoringTests", dependencies: ["Monitoring", "Configuration", "Platform"]),
    .testTarget(name: "HTTPClientTests", dependencies: ["HTTPClient", "Monitoring", "Platform", "TestSupport"]),
    .testTarget(name: "NetworkProbeTests", dependencies: ["NetworkProbe", "Platform", "TestSupport"]),
    .testTarget(
        name: "KafkaClientTests",
        dependencies: ["KafkaClient", "KafkaTestSupport", "Platform", "TestSupport", "CRdkafka"]),
    .testTarget(name: "KafkaSettingsTests", dependencies: ["Configuration", "KafkaClient", "KafkaSettings"]),
    .testTarget(
        name: "PostgresClientTests", dependencies: ["PostgresClient", "NetworkProbe", "Platform", "TestSupport"]),
    .testTarget(name: "SensorBusTests", dependencies: ["SensorBus", "Platform", "TestSupport"]),
    .testTarget(
        name: "SensorDriversTests", dependencies: ["SensorDrivers", "SimulatedHardware", "Platform", "TestSupport"]),
    .testTarget(name: "SimulatedHardwareTests", dependencies: ["SimulatedHardware", "SensorDrivers", "TestSupport"]),
    .testTarget(
        name: "KernelHardwareTests",
        dependencies: ["KernelHardware", "SimulatedHardware", "SensorBus", "Readings", "Platform", "TestSupport"]),
    // A VFS of SQLite whose storage loses power, fills up and fails as a test tells it to.
    .target(name: "CFaultyStorage", dependencies: ["CSQLite"], path: "Tests/CFaultyStorage"),
    .testTarget(
        name: "OutboxTests",
        dependencies: ["CFaultyStorage", "CSQLite", "Outbox", "Platform", "Readings", "TestSupport"]),
    .testTarget(
        name: "GatewayCoreTests",
        dependencies: [
            "GatewayCore", "Configuration", "CSQLite", "KafkaClient", "KafkaTestSupport", "Monitoring", "NetworkProbe",
            "Outbox",
            "Platform", "Presentation", "Readings", "SensorBus", "SensorDrivers", "SimulatedHardware", "TestSupport",
        ]),
    .testTarget(
        name: "BoardToolsTests",
        dependencies: [
            "BoardTools", "GatewayCore", "Configuration", "KafkaClient", "Monitoring", "NetworkProbe", "Outbox",
            "Platform", "Presentation", "Readings", "SensorBus", "SensorDrivers", "SimulatedHardware", "TestSupport",
        ]),
    .testTarget(name: "WindowingTests", dependencies: ["Windowing", "Platform", "TestSupport"]),
    .testTarget(name: "AlertingTests", dependencies: ["Alerting", "Platform", "TestSupport"]),
    .testTarget(
        name: "ProcessorStatusTests", dependencies: ["ProcessorStatus", "Monitoring", "Presentation", "Readings"]),
    .testTarget(
        name: "ProcessorCoreTests",
        dependencies: [
            "ProcessorCore", "ProcessorStatus", "Alerting", "Configuration", "KafkaClient", "Monitoring", "Platform",
            "PostgresClient", "Presentation", "Readings", "ReadingDecoding", "TestSupport", "Windowing",
        ]),
    .testTarget(name: "FleetCoreTests", dependencies: ["FleetCore", "ReadingDecoding", "Platform", "TestSupport"]),
    .testTarget(
        name: "IntegrationTests",
        dependencies: [
            "Alerting", "CRdkafka", "FleetCore", "HTTPClient", "KafkaClient", "PostgresClient", "ProcessorCore",
            "ReadingDecoding", "Readings", "Outbox", "Platform", "TestSupport", "Windowing",
        ],
        resources: [.copy("Data")]),
]

let package = Package(
    name: "vigie",
    products: [
        .executable(name: "vigie-gateway", targets: ["vigie-gateway"]),
        .executable(name: "vigie-simbus", targets: ["vigie-simbus"]),
        .executable(name: "vigie-processor", targets: ["vigie-processor"]),
        .executable(name: "vigie-fleet", targets: ["vigie-fleet"]),
    ],
    targets: cLibraries + libraries + programs + tests,
    cxxLanguageStandard: .cxx17
)
