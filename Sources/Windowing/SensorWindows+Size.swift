extension SensorWindows {
    /// How many windows that hold a reading are not final.
    public func openWindowCount(_ policy: WindowPolicy) -> Int {
        var count: Int64 = 0
        for specification in policy.specifications {
            // Ends are multiples of the slide; those up to `done` are counted or final.
            var done = finalThrough == .min ? Int64.min : finalThrough.floored(to: specification.slide)
            forEachPaneStart { start in
                let before = start.floored(to: specification.slide)
                let last = before + specification.size
                let from = max(before, done)
                guard last > from else { return }
                count += (last - from) / specification.slide
                done = last
            }
        }
        return Int(count)
    }
}
