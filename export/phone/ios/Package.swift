// swift-tools-version: 5.9

import PackageDescription

let package = Package(
    name: "FerEdge",
    platforms: [.iOS(.v13), .macOS(.v10_15)],
    products: [.library(name: "FerEdge", targets: ["FerEdge"])],
    targets: [
        .target(name: "FerEdge"),
        .testTarget(
            name: "FerEdgeTests",
            dependencies: ["FerEdge"],
            resources: [.copy("Resources/cases.json")]
        ),
    ]
)
