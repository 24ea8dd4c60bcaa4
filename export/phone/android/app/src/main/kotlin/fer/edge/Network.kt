package fer.edge

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer

/**
 * A `.tflite` of float input and outputs on LiteRT. To be used by one thread at a time.
 *
 * @param accelerators What to try, in this order; the last one's error is thrown.
 */
class Network(assets: AssetManager, file: String, accelerators: List<Accelerator>) : AutoCloseable {
    private val compiled = compile(assets, file, accelerators)
    private val model = compiled.second
    private val inputs: List<TensorBuffer> = model.createInputBuffers()
    private val outputs: List<TensorBuffer> = model.createOutputBuffers()

    /** What it runs on. */
    val accelerator: Accelerator = compiled.first

    /** Returns the outputs for one input; their order is the file's own, so tell them by their size. */
    fun run(input: FloatArray): List<FloatArray> {
        inputs.single().writeFloat(input)
        model.run(inputs, outputs)
        return outputs.map { it.readFloat() }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }

    companion object {
        /** The graphics processor, or else the processor. */
        val FASTEST = listOf(Accelerator.GPU, Accelerator.CPU)

        // One at a time: given both, LiteRT does not say which it took.
        private fun compile(
            assets: AssetManager,
            file: String,
            accelerators: List<Accelerator>,
        ): Pair<Accelerator, CompiledModel> {
            val first = accelerators.first()
            return try {
                first to CompiledModel.create(assets, file, CompiledModel.Options(first))
            } catch (error: LiteRtException) {
                if (accelerators.size == 1) throw error
                compile(assets, file, accelerators.drop(1))
            }
        }
    }
}
