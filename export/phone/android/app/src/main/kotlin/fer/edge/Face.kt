package fer.edge

import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/**
 * A face in a picture, in pixels; it may reach past the picture's border.
 *
 * @property score The detector's confidence, 0 to 1.
 */
data class FaceBox(
    val x: Double,
    val y: Double,
    val width: Double,
    val height: Double,
    val score: Double,
) {
    val area get() = width * height

    /** How many square pixels two boxes share. */
    fun common(other: FaceBox): Double {
        val across = min(x + width, other.x + other.width) - max(x, other.x)
        val down = min(y + height, other.y + other.height) - max(y, other.y)
        return max(0.0, across) * max(0.0, down)
    }

    /** Intersection over union of two boxes, 0 to 1. */
    fun overlap(other: FaceBox): Double = common(other) / (area + other.area - common(other))
}

/**
 * How a face box becomes a square crop, from the model's `spec.json`.
 *
 * @property scale Side of the square, as a multiple of the longer side of the face box.
 * @property offsetY Shift of the square's centre from the box's centre, as a fraction of the
 *   square's side; negative is up.
 */
data class CropSpec(val scale: Double, val offsetY: Double)

/** A square in whole pixels; it may reach past the picture. */
data class Square(val left: Int, val top: Int, val side: Int)

/**
 * Places the square that frames a face as the classifier was trained to see it.
 *
 * Halves are rounded up, so that every platform agrees.
 */
fun cropSquare(box: FaceBox, crop: CropSpec): Square {
    val side = crop.scale * max(box.width, box.height)
    val left = box.x + box.width / 2 - side / 2
    val top = box.y + box.height / 2 + crop.offsetY * side - side / 2
    fun rounded(value: Double) = floor(value + 0.5).toInt()
    return Square(rounded(left), rounded(top), max(1, rounded(side)))
}

/** Cuts out a square, the picture's edge repeated where it ends. */
fun cut(picture: Picture, square: Square): Picture {
    val pixels = IntArray(square.side * square.side) {
        val x = (square.left + it % square.side).coerceIn(0, picture.width - 1)
        val y = (square.top + it / square.side).coerceIn(0, picture.height - 1)
        picture.pixels[y * picture.width + x]
    }
    return Picture(square.side, square.side, pixels)
}
