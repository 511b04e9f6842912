import Configuration
import Testing
import TestSupport

@testable import ProcessorCore

@Suite struct ConfigurationReferenceTests {
    @Test func theDocumentationSaysWhatTheProcessorDoes() throws {
        let reference = try ConfigurationReference(
            file: "processor.yaml",
            least: [("kafka.bootstrap", "here"), ("postgres.connection", "dbname=vigie")],
            examples: [("windows[].size", "10m"), ("webhook.url", "http://localhost/")])
        let found = reference.disagreements { text in
            do {
                var settings = ""
                dump(try ProcessorSettings(ConfigurationDocument(text: text, name: "processor.yaml")), to: &settings)
                return .settings(settings)
            } catch {
                return .problems("\(error)")
            }
        }
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }
}
