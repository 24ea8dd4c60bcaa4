import FerEdge
import Foundation
import XCTest

/// Replays what the Python library answered: `cases.json` is written by it.
final class CasesTests: XCTestCase {
    private struct Cases: Decodable {
        struct Crop: Decodable {
            let box: [Double]
            let crop: CropSpec
            let square: [Int]
        }

        struct Tile: Decodable {
            let picture: [[[UInt8]]]
            let square: [Int]
            let size: Int
            let tile: [Float]
        }

        let crops: [Crop]
        let tiles: [Tile]
    }

    private func cases() throws -> Cases {
        let file = Bundle.module.url(forResource: "cases", withExtension: "json")
        return try JSONDecoder().decode(Cases.self, from: Data(contentsOf: XCTUnwrap(file)))
    }

    func testSquaresAreWherePythonPutsThem() throws {
        for wanted in try cases().crops {
            let box = FaceBox(
                x: wanted.box[0], y: wanted.box[1], width: wanted.box[2], height: wanted.box[3]
            )
            XCTAssertEqual(Square(around: box, as: wanted.crop), square(wanted.square))
        }
    }

    func testTilesAreThoseOfPythonWithinOneGreyLevel() throws {
        for wanted in try cases().tiles {
            let picture = Picture(
                width: wanted.picture[0].count,
                height: wanted.picture.count,
                values: wanted.picture.flatMap { $0.flatMap { $0 } }
            )
            let tile = makeTile(picture.cut(square(wanted.square)), size: wanted.size)
            XCTAssertEqual(tile.count, wanted.tile.count)
            for (received, value) in zip(tile, wanted.tile) {
                XCTAssertEqual(received, value, accuracy: 1)
            }
        }
    }

    private func square(_ numbers: [Int]) -> Square {
        Square(left: numbers[0], top: numbers[1], side: numbers[2])
    }
}
