/// A picture in memory: red, green and blue of each pixel, row by row from the top left.
public struct Picture: Equatable {
    /// Numbers per pixel: red, green and blue.
    public static let channels = 3

    public let width: Int
    public let height: Int
    public let values: [UInt8]

    /// Makes a picture of `width * height * Picture.channels` values.
    public init(width: Int, height: Int, values: [UInt8]) {
        precondition(
            width > 0 && height > 0 && values.count == width * height * Picture.channels,
            "values must be width x height x 3, received \(values.count) for \(width) x \(height)"
        )
        self.width = width
        self.height = height
        self.values = values
    }
}
