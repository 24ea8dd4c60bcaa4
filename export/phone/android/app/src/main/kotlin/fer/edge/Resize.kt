package fer.edge

import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/**
 * Makes the classifier's input of a square crop: the only preprocessing there is.
 *
 * @param square A picture of equal sides.
 * @param size Side of the tile in pixels.
 * @return Red, green and blue of each pixel, 0 to 255, row by row.
 */
fun makeTile(square: Picture, size: Int): FloatArray {
    require(square.width == square.height) {
        "square must have equal sides, received ${square.width} x ${square.height}"
    }
    return resize(square, size, size)
}

/**
 * Resizes a picture: by area averaging along a side that shrinks, bilinearly with half-pixel centres
 * and the edge repeated along one that grows.
 *
 * @return Red, green and blue of each pixel, 0 to 255, row by row.
 */
fun resize(picture: Picture, width: Int, height: Int): FloatArray {
    val columns = sources(picture.width, width)
    val rows = sources(picture.height, height)
    val narrowed = FloatArray(picture.height * width * CHANNELS)
    for (y in 0 until picture.height) {
        for (x in 0 until width) {
            var red = 0f
            var green = 0f
            var blue = 0f
            columns[x].weights.forEachIndexed { step, weight ->
                val pixel = picture.pixels[y * picture.width + columns[x].first + step]
                red += weight * (pixel shr 16 and 0xff)
                green += weight * (pixel shr 8 and 0xff)
                blue += weight * (pixel and 0xff)
            }
            val at = (y * width + x) * CHANNELS
            narrowed[at] = red
            narrowed[at + 1] = green
            narrowed[at + 2] = blue
        }
    }
    val stride = width * CHANNELS
    val resized = FloatArray(height * stride)
    for (y in 0 until height) {
        rows[y].weights.forEachIndexed { step, weight ->
            val from = (rows[y].first + step) * stride
            for (x in 0 until stride) resized[y * stride + x] += weight * narrowed[from + x]
        }
    }
    return resized
}

/** Red, green and blue. */
const val CHANNELS = 3

/** What one pixel of the result is made of: neighbours from [first] on, with weights of sum 1. */
private class Sources(val first: Int, val weights: FloatArray)

private fun sources(from: Int, to: Int): List<Sources> {
    val scale = from.toDouble() / to
    return List(to) { if (from > to) covered(it, scale, from) else between(it, scale, from) }
}

private fun covered(index: Int, scale: Double, from: Int): Sources {
    val start = index * scale
    val end = min(start + scale, from.toDouble())
    val first = floor(start).toInt()
    return Sources(first, FloatArray(ceil(end).toInt() - first) {
        ((min(first + it + 1.0, end) - max(first + it.toDouble(), start)) / scale).toFloat()
    })
}

private fun between(index: Int, scale: Double, from: Int): Sources {
    val centre = ((index + 0.5) * scale - 0.5).coerceIn(0.0, from - 1.0)
    val first = floor(centre).toInt()
    val share = (centre - first).toFloat()
    return Sources(first, if (share > 0) floatArrayOf(1 - share, share) else floatArrayOf(1f))
}
