/// Windows of one size that begin every slide: aligned to the epoch, half-open, in milliseconds of event time.
///
/// A tumbling window is one whose slide is its size.
public struct WindowSpecification: Sendable, Hashable {
    /// The length of a window, milliseconds.
    public let size: Int64
    /// The distance between the beginnings of two windows, milliseconds; divides `size`.
    public let slide: Int64

    /// Makes a specification.
    /// - Returns: nil unless slide is positive and divides size.
    public init?(size: Int64, slide: Int64) {
        guard slide > 0, size >= slide, size % slide == 0 else { return nil }
        self.size = size
        self.slide = slide
    }

    /// The ends of the windows that contain an instant, in order.
    func ends(containing time: Int64) -> StrideThrough<Int64> {
        let lastStart = time.floored(to: slide)
        return stride(from: lastStart + slide, through: lastStart + size, by: Int(slide))
    }
}

/// How event time is cut and how long it stays open.
public struct WindowPolicy: Sendable, Equatable {
    /// The windows to compute.
    public let specifications: [WindowSpecification]
    /// How far a sensor's watermark trails its largest event time, milliseconds.
    public let lateness: Int64
    /// The greatest common slide, milliseconds: the length of a pane.
    public let paneSize: Int64
    /// The longest window, milliseconds.
    public let longestWindow: Int64

    /// The most panes of a sensor that has a reading in each.
    public var paneCount: Int { Int(clamping: (longestWindow + lateness) / paneSize) + 3 }
    /// In how many windows a reading is.
    public var windowsPerReading: Int64 { specifications.reduce(0) { $0 + $1.size / $1.slide } }

    /// Makes a policy.
    /// - Parameters:
    ///   - specifications: at least one, none twice.
    ///   - lateness: not negative, milliseconds.
    /// - Returns: nil if a parameter is not as said.
    public init?(specifications: [WindowSpecification], lateness: Int64) {
        guard let longest = specifications.map(\.size).max(), lateness >= 0,
            Set(specifications).count == specifications.count
        else { return nil }
        self.specifications = specifications
        self.lateness = lateness
        paneSize = specifications.map(\.slide).reduce(0, greatestCommonDivisor)
        longestWindow = longest
    }
}

private func greatestCommonDivisor(_ left: Int64, _ right: Int64) -> Int64 {
    right == 0 ? left : greatestCommonDivisor(right, left % right)
}

extension Int64 {
    /// The largest multiple of `step` that is not above this number.
    func floored(to step: Int64) -> Int64 {
        let remainder = self % step
        return remainder < 0 ? self - remainder - step : self - remainder
    }
}
