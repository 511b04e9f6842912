import Configuration
import Testing
import TestSupport

@testable import GatewayCore

@Suite struct ConfigurationReferenceTests {
    @Test func theDocumentationSaysWhatTheGatewayDoes() throws {
        let reference = try ConfigurationReference(
            file: "gateway.yaml",
            least: [
                ("gateway.id", "cellar-1"), ("mode", "simulated"), ("outbox.path", "outbox.sqlite"),
                ("kafka.bootstrap", "here"), ("stations[].sensor_id", "air"), ("stations[].chips[].type", "bme280"),
                // A battery, for the section of that name.
                ("stations[].chips[1].type", "ads1115"), ("stations[].chips[1].name", "cell"),
                ("stations[].chips[1].address", "0x4B"), ("stations[].chips[1].chemistry", "li_ion"),
            ],
            examples: [
                ("board.power_good.line", "A"), ("board.charging.line", "A"), ("board.sensor_power.line", "A"),
                ("board.status_light.line", "A"), ("simulation.recording.file", "air.csv"),
                ("simulation.recording.columns", "{time: 1}"), ("simulation.recording.columns.time", "1"),
                ("simulation.faults[].sensor_id", "air"),
                ("simulation.faults[].chip", "bme280"), ("simulation.faults[].kind", "nack"),
                ("stations[].place.latitude", "0"), ("stations[].place.longitude", "0"),
                ("stations[].multiplexer.channel", "0"), ("stations[].chips[].multiplexer.channel", "0"),
                ("stations[].chips[].divider.upper", "1"), ("stations[].chips[].divider.lower", "1"),
            ])
        let found = reference.disagreements { text in
            do {
                var settings = ""
                dump(try GatewaySettings(ConfigurationDocument(text: text, name: "gateway.yaml")), to: &settings)
                return .settings(settings)
            } catch {
                return .problems("\(error)")
            }
        }
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }
}
