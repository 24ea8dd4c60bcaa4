package fer.edge

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator

/** The bundle that the build copied into the assets. To be used by one thread at a time. */
class Classifier(assets: AssetManager, accelerators: List<Accelerator>) : AutoCloseable {
    val spec = Spec.parse(assets.text("spec.json"), assets.text("labels.txt"))

    private val network = Network(assets, "model.tflite", accelerators)

    /** What it runs on. */
    val accelerator: Accelerator get() = network.accelerator

    /** Returns the probability of each label for a square crop. */
    fun probabilities(square: Picture): FloatArray {
        val outputs = network.run(makeTile(square, spec.tileSize))
        val scores = outputs.single { it.size == spec.labels.size } // the other is the evidence map
        val total = scores.sum() // 8 bits round it off
        return FloatArray(scores.size) { scores[it] / total }
    }

    override fun close() = network.close()

    private fun AssetManager.text(file: String) = open(file).bufferedReader().use { it.readText() }
}
