/// The last so many elements.
struct Ring<Element: Sendable>: Sendable {
    private let capacity: Int
    private var storage: [Element] = []
    private var oldest = 0

    /// - Parameter capacity: at least 1.
    init(capacity: Int) {
        self.capacity = max(1, capacity)
    }

    /// Adds an element; when there is no room the oldest goes.
    mutating func append(_ element: Element) {
        if storage.count < capacity {
            storage.append(element)
        } else {
            storage[oldest] = element
            oldest = (oldest + 1) % capacity
        }
    }

    /// The elements, the oldest first.
    var elements: [Element] { Array(storage[oldest...] + storage[..<oldest]) }

    /// At most so many of the newest elements, the oldest first.
    func suffix(_ count: Int) -> ArraySlice<Element> { elements.suffix(count) }
}
