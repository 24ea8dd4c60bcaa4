package fer.edge

import kotlin.math.exp
import kotlin.math.max
import kotlin.math.roundToInt

/** MediaPipe's BlazeFace short-range without the network: what goes into it, and what comes out. */
object BlazeFace {
    /** Side of the network's square input. */
    const val SIZE = 128

    private const val MIN_SCORE = 0.5
    private const val SAME_FACE = 0.3 // intersection over union
    private const val ROW = 16 // numbers a box: centre, size and six points of the face
    private val GRIDS = listOf(8 to 2, 16 to 6) // stride, anchors at each position

    /** Centres of the boxes that the network can place, in output order. */
    private val anchors = GRIDS.flatMap { (stride, repeats) ->
        val centres = List(SIZE / stride) { (it + 0.5) * stride }
        centres.flatMap { y -> centres.flatMap { x -> List(repeats) { x to y } } }
    }

    /**
     * Makes the network's input: the whole picture, as large as fits at the top left, from -1 to 1.
     *
     * @return SIZE x SIZE pixels of red, green and blue, row by row; the rest is black.
     */
    fun input(picture: Picture): FloatArray {
        val (width, height) = seen(picture)
        val resized = resize(picture, width, height)
        val pixels = FloatArray(SIZE * SIZE * CHANNELS) { -1f }
        for (y in 0 until height) {
            for (x in 0 until width * CHANNELS) {
                pixels[y * SIZE * CHANNELS + x] = resized[y * width * CHANNELS + x] / 127.5f - 1f
            }
        }
        return pixels
    }

    /**
     * Reads the network's two outputs.
     *
     * @param boxes Centre, relative to the anchor, and size of each box, and points of the face.
     * @param logits Logit of each box's score.
     * @param picture The picture that [input] was made from.
     * @return What may be faces, in the picture's pixels, best score first.
     */
    fun faces(boxes: FloatArray, logits: FloatArray, picture: Picture): List<FaceBox> {
        val (seenWidth, seenHeight) = seen(picture)
        val across = picture.width.toDouble() / seenWidth
        val down = picture.height.toDouble() / seenHeight
        val found = anchors.mapIndexedNotNull { index, (x, y) ->
            val score = 1 / (1 + exp(-logits[index].toDouble()))
            val at = index * ROW
            val width = boxes[at + 2] * across
            val height = boxes[at + 3] * down
            val left = (x + boxes[at]) * across - width / 2
            val top = (y + boxes[at + 1]) * down - height / 2
            FaceBox(left, top, width, height, score).takeIf { score > MIN_SCORE }
        }
        return merge(found)
    }

    private fun seen(picture: Picture): Pair<Int, Int> {
        val scale = SIZE.toDouble() / max(picture.width, picture.height)
        fun side(pixels: Int) = max(1, (pixels * scale).roundToInt())
        return side(picture.width) to side(picture.height)
    }

    /** Averages the boxes of one face by score (weighted non-maximum suppression). */
    private fun merge(boxes: List<FaceBox>): List<FaceBox> {
        val faces = mutableListOf<FaceBox>()
        var rest = boxes.sortedByDescending { it.score }
        while (rest.isNotEmpty()) {
            val best = rest.first()
            val (same, others) = rest.partition {
                it === best || best.overlap(it) > SAME_FACE
            }
            val total = same.sumOf { it.score }
            fun mean(edge: (FaceBox) -> Double) = same.sumOf { it.score * edge(it) } / total
            faces += FaceBox(
                mean { it.x }, mean { it.y }, mean { it.width }, mean { it.height }, best.score,
            )
            rest = others
        }
        return faces
    }
}
