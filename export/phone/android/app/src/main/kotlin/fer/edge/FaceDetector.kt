package fer.edge

import kotlin.math.max

/**
 * Finds faces in two looks: one at the whole picture, and a closer one at each face, which places it
 * well and drops most of what only resembles one.
 *
 * @param network BlazeFace: from its input to its two outputs, in any order.
 */
class FaceDetector(private val network: (FloatArray) -> List<FloatArray>) {
    /** Returns the faces of a picture, largest first. */
    fun detect(picture: Picture): List<FaceBox> =
        outermost(look(picture).mapNotNull { closer(picture, it) })

    private fun look(picture: Picture): List<FaceBox> {
        val (logits, boxes) = network(BlazeFace.input(picture)).sortedBy { it.size }
        return BlazeFace.faces(boxes, logits, picture)
    }

    private fun closer(picture: Picture, face: FaceBox): FaceBox? {
        // A face this large cannot be framed within the picture, and was seen well at once.
        if (face.width * CLOSE.scale > max(picture.width, picture.height)) return face
        val square = cropSquare(face, CLOSE)
        return look(cut(picture, square))
            .map { it.copy(x = it.x + square.left, y = it.y + square.top) }
            .firstOrNull {
                it.overlap(face) > SAME_FACE && (it.score + face.score) / 2 >= MIN_MEAN_SCORE
            }
    }

    /** Drops what is mostly inside a larger face: a mouth or an eye can look like a face. */
    private fun outermost(faces: List<FaceBox>): List<FaceBox> {
        val kept = mutableListOf<FaceBox>()
        for (face in faces.sortedByDescending { it.area }) {
            if (kept.all { face.common(it) <= INSIDE * face.area }) kept += face
        }
        return kept
    }

    private companion object {
        val CLOSE = CropSpec(scale = 2.2, offsetY = 0.0) // as large as the network likes it best
        const val SAME_FACE = 0.4 // intersection over union
        const val MIN_MEAN_SCORE = 0.7
        const val INSIDE = 0.7 // share of the smaller face
    }
}
