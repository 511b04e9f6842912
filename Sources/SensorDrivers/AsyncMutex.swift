/// Lets one operation at a time through an actor that suspends in the middle of it: a chip that is converting must
/// not be told to convert something else.
///
/// It belongs to one actor and is used on it alone.
final class AsyncMutex {
    private var isLocked = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Waits for the mutex, first come, first served. Every operation is bounded, so the wait is.
    func lock(isolation: isolated (any Actor)? = #isolation) async {
        if !isLocked {
            isLocked = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Hands the mutex to the next.
    func unlock() {
        if waiting.isEmpty {
            isLocked = false
        } else {
            waiting.removeFirst().resume()
        }
    }
}
