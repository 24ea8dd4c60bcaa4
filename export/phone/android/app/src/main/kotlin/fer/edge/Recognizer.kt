package fer.edge

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator

/**
 * What is read in a face.
 *
 * @property probabilities One for each label, in the order of the spec.
 */
class Reading(val box: FaceBox, val probabilities: FloatArray)

/** Faces and their expressions, wholly on the device. To be used by one thread at a time. */
class Recognizer(assets: AssetManager) : AutoCloseable {
    // Tiny, and LiteRT has failed where two networks shared the graphics processor.
    private val blazeFace =
        Network(assets, "face_detection_short_range.tflite", listOf(Accelerator.CPU))
    private val detector = FaceDetector(blazeFace::run)
    private val classifier = Classifier(assets, Network.FASTEST)

    val spec: Spec get() = classifier.spec

    /** What the classifier runs on. */
    val accelerator: Accelerator get() = classifier.accelerator

    /** Returns one reading per face, largest face first. */
    fun recognize(picture: Picture): List<Reading> = detector.detect(picture).map { box ->
        Reading(box, classifier.probabilities(cut(picture, cropSquare(box, spec.crop))))
    }

    override fun close() {
        blazeFace.close()
        classifier.close()
    }
}
