import Readings
import Testing

@Suite struct QuantityTests {
    @Test func rawValuesAreTheirPlacesAndHaveRoom() {
        #expect(Quantity.all.map { Int($0.rawValue) } == Array(Quantity.all.indices))
        #expect(Quantity.all.count <= QuantityArray<Double>.capacity)
        #expect(Quantity.all.count <= QuantitySet.RawValue.bitWidth)
    }

    @Test func namesAreNamesOfColumnsAndDiffer() {
        #expect(Set(Quantity.all.map(\.name)).count == Quantity.all.count)
        for quantity in Quantity.all {
            #expect(quantity.name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 95 })
            #expect(Quantity(name: quantity.name) == quantity)
        }
        #expect(Quantity(name: "Temperature") == nil)
    }

    @Test func valuesHoldEachQuantityByItself() {
        for quantity in Quantity.all {
            var values = Values()
            values[quantity] = 1.5
            #expect(values.present == QuantitySet(quantity))
            #expect(Quantity.all.filter { values[$0] != nil } == [quantity])
            #expect(values != Values())
            values[quantity] = nil
            #expect(values == Values(), "what was taken away leaves nothing behind")
        }
    }

    @Test func absentIsNotZero() {
        let values: Values = [.co2: 0, .humidity: nil]
        #expect(values[.co2] == 0 && values[.humidity] == nil && values[.temperature] == nil)
        #expect(values != Values())
        #expect(Array(values.present.members) == [.co2])
    }

    @Test func arraysHoldEachElementByItself() {
        var numbers = QuantityArray(repeating: 0)
        for quantity in Quantity.all { numbers[quantity] = Int(quantity.rawValue) + 1 }
        #expect(Quantity.all.map { numbers[$0] } == Array(1...Quantity.all.count))
        var others = numbers
        others[.pressure] = 0
        #expect(others != numbers)
    }
}
