package fer.edge

/**
 * A picture in memory.
 *
 * @property pixels One number per pixel, 0xRRGGBB, row by row from the top left; what stands above
 *   these 24 bits is ignored, so that Android's ARGB can be passed as it is.
 */
class Picture(val width: Int, val height: Int, val pixels: IntArray) {
    init {
        require(width > 0 && height > 0 && pixels.size == width * height) {
            "pixels must be width x height numbers, received ${pixels.size} for $width x $height"
        }
    }
}
