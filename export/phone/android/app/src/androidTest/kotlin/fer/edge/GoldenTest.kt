package fer.edge

import android.graphics.BitmapFactory
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.LiteRtException
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assume.assumeNoException
import org.junit.Test
import org.junit.runner.RunWith

/** The bundle's golden tiles must get the answers on this device that they got at export. */
@RunWith(AndroidJUnit4::class)
class GoldenTest {
    private val instrumentation = InstrumentationRegistry.getInstrumentation()
    private val golden = instrumentation.context.assets
    private val answers = golden.open("golden.json").bufferedReader().use { JSONObject(it.readText()) }

    @Test
    fun processorRepeatsTheAnswers() {
        replay(Accelerator.CPU, answers.getDouble("tolerance"))
    }

    @Test
    fun graphicsProcessorComesClose() {
        try {
            replay(Accelerator.GPU, HALF_PRECISION)
        } catch (error: LiteRtException) {
            assumeNoException("No graphics processor that LiteRT can use", error)
        }
    }

    private fun replay(accelerator: Accelerator, tolerance: Double) {
        val expected = answers.getJSONObject("probabilities")
        Classifier(instrumentation.targetContext.assets, listOf(accelerator)).use { classifier ->
            for (name in expected.keys()) {
                val wanted = expected.getJSONArray(name)
                val received = classifier.probabilities(picture(name))
                classifier.spec.labels.forEachIndexed { index, label ->
                    val told = "$name, $label on $accelerator"
                    assertEquals(told, wanted.getDouble(index), received[index].toDouble(), tolerance)
                }
            }
        }
    }

    private fun picture(name: String): Picture {
        val bitmap = golden.open("$name.png").use(BitmapFactory::decodeStream)
        val pixels = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        return Picture(bitmap.width, bitmap.height, pixels)
    }

    private companion object {
        /** How far a graphics processor may be off, which computes in 16 bits. */
        const val HALF_PRECISION = 0.05
    }
}
