/// Makes the classifier's input of a square crop: the only preprocessing there is.
///
/// Shrinks by area averaging; enlarges bilinearly with half-pixel centres and the edge repeated.
///
/// - Parameters:
///   - square: A picture of equal sides.
///   - size: Side of the tile in pixels.
/// - Returns: Red, green and blue of each pixel, 0 to 255, row by row.
public func makeTile(_ square: Picture, size: Int) -> [Float] {
    precondition(
        square.width == square.height,
        "square must have equal sides, received \(square.width) x \(square.height)"
    )
    let side = square.width
    let sources = (0..<size).map { Sources(of: $0, from: side, to: size) }
    let stride = size * Picture.channels

    var narrowed = [Float](repeating: 0, count: side * stride)
    for y in 0..<side {
        for x in 0..<size {
            for (step, weight) in sources[x].weights.enumerated() {
                let from = (y * side + sources[x].first + step) * Picture.channels
                for channel in 0..<Picture.channels {
                    let value = Float(square.values[from + channel])
                    narrowed[y * stride + x * Picture.channels + channel] += weight * value
                }
            }
        }
    }

    var tile = [Float](repeating: 0, count: size * stride)
    for y in 0..<size {
        for (step, weight) in sources[y].weights.enumerated() {
            let from = (sources[y].first + step) * stride
            for x in 0..<stride {
                tile[y * stride + x] += weight * narrowed[from + x]
            }
        }
    }
    return tile
}

/// What one pixel of a row of the tile is made of: neighbours from `first` on, with weights of sum 1.
private struct Sources {
    let first: Int
    let weights: [Float]

    init(of index: Int, from: Int, to: Int) {
        let scale = Double(from) / Double(to)
        if from > to {
            let start = Double(index) * scale
            let end = min(start + scale, Double(from))
            let first = Int(start)
            self.first = first
            weights = (first..<Int(end.rounded(.up))).map {
                Float((min(Double($0) + 1, end) - max(Double($0), start)) / scale)
            }
        } else {
            let centre = (Double(index) + 0.5) * scale - 0.5
            let inside = min(max(centre, 0), Double(from) - 1)
            first = Int(inside)
            let share = Float(inside - Double(first))
            weights = share > 0 ? [1 - share, share] : [1]
        }
    }
}
