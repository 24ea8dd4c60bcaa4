// Answers for tests/test_phone_native.py, from the Android app's own code on a JVM.
//
// Standard input and output are numbers, big-endian: a letter's code says what is asked, and an
// answer is its length and then its numbers. Pictures are width, height and 0xRRGGBB pixels. Length
// -1 is a question back: what the network says of an input.

import android.content.res.AssetManager
import fer.edge.BlazeFace
import fer.edge.CropSpec
import fer.edge.FaceBox
import fer.edge.FaceDetector
import fer.edge.Picture
import fer.edge.Square
import fer.edge.cropSquare
import fer.edge.cut
import fer.edge.makeTile
import java.io.DataInputStream
import java.io.DataOutputStream
import java.io.EOFException

fun main() {
    val asked = DataInputStream(System.`in`.buffered())
    val answers = DataOutputStream(System.out.buffered())
    while (true) {
        val question = try {
            asked.readInt().toChar()
        } catch (_: EOFException) {
            break
        }
        val answer = when (question) {
            'c' -> asked.square().run { listOf(left, top, side) }
            't' -> makeTile(asked.crop(), asked.readInt()).toList()
            'i' -> BlazeFace.input(asked.picture()).toList()
            'f' -> asked.picture().let { BlazeFace.faces(asked.floats(), asked.floats(), it) }.numbers()
            'g' -> guide(AssetManager(), asked.floats())
            'd' -> FaceDetector { input ->
                answers.writeInt(-1)
                input.forEach { answers.writeFloat(it) }
                answers.flush()
                List(2) { asked.floats() }
            }.detect(asked.picture()).numbers()
            else -> error("no such question: $question")
        }
        answers.writeInt(answer.size)
        answer.forEach { answers.writeFloat(it.toFloat()) }
        answers.flush()
    }
}

private fun List<FaceBox>.numbers() = flatMap { listOf(it.x, it.y, it.width, it.height, it.score) }

private fun DataInputStream.picture(): Picture {
    val width = readInt()
    val height = readInt()
    return Picture(width, height, IntArray(width * height) { readInt() })
}

private fun DataInputStream.square(): Square {
    val (x, y, width, height) = List(4) { readDouble() }
    return cropSquare(FaceBox(x, y, width, height, 1.0), CropSpec(readDouble(), readDouble()))
}

private fun DataInputStream.crop(): Picture = picture().let { cut(it, square()) }

private fun DataInputStream.floats() = FloatArray(readInt()) { readFloat() }
