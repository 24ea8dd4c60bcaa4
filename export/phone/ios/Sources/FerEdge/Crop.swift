/// A face in a picture, in pixels; it may reach past the picture's border.
public struct FaceBox: Equatable {
    public let x: Double
    public let y: Double
    public let width: Double
    public let height: Double

    public init(x: Double, y: Double, width: Double, height: Double) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }
}

/// How a face box becomes a square crop: `crop` in a bundle's `spec.json`.
public struct CropSpec: Decodable, Equatable {
    /// Side of the square, as a multiple of the longer side of the face box.
    public let scale: Double
    /// Shift of the square's centre from the box's, as a fraction of its side; negative is up.
    public let offsetY: Double

    enum CodingKeys: String, CodingKey {
        case scale
        case offsetY = "offset_y"
    }

    public init(scale: Double, offsetY: Double) {
        self.scale = scale
        self.offsetY = offsetY
    }
}

/// A square in whole pixels; it may reach past the picture.
public struct Square: Equatable {
    public let left: Int
    public let top: Int
    public let side: Int

    public init(left: Int, top: Int, side: Int) {
        self.left = left
        self.top = top
        self.side = side
    }

    /// Places the square that frames a face as the classifier was trained to see it.
    ///
    /// Halves are rounded up, so that every platform agrees.
    public init(around box: FaceBox, as crop: CropSpec) {
        func rounded(_ value: Double) -> Int { Int((value + 0.5).rounded(.down)) }
        let side = crop.scale * max(box.width, box.height)
        self.init(
            left: rounded(box.x + box.width / 2 - side / 2),
            top: rounded(box.y + box.height / 2 + crop.offsetY * side - side / 2),
            side: max(1, rounded(side))
        )
    }
}

extension Picture {
    /// Cuts out a square, the picture's edge repeated where it ends.
    public func cut(_ square: Square) -> Picture {
        var cut: [UInt8] = []
        cut.reserveCapacity(square.side * square.side * Picture.channels)
        for row in square.top..<square.top + square.side {
            for column in square.left..<square.left + square.side {
                let y = min(max(row, 0), height - 1)
                let x = min(max(column, 0), width - 1)
                let from = (y * width + x) * Picture.channels
                cut += values[from..<from + Picture.channels]
            }
        }
        return Picture(width: square.side, height: square.side, values: cut)
    }
}
