package fer.edge

import android.Manifest
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.os.Bundle
import android.os.SystemClock
import android.view.View
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.core.content.ContextCompat
import java.util.concurrent.Executors

/** The camera, the faces in it and their expressions. Nothing is stored and nothing leaves the phone. */
class MainActivity : ComponentActivity() {
    /** The only thread that touches [recognizer]: frames that come while it is busy are dropped. */
    private val worker = Executors.newSingleThreadExecutor()
    private var recognizer: Recognizer? = null

    private val frames = ImageAnalysis.Builder()
        .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
        .setOutputImageRotationEnabled(true)
        .build()
    private var mirrored = false
    private var started = false

    private val askForCamera =
        registerForActivityResult(ActivityResultContracts.RequestPermission()) { start() }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        findViewById<View>(R.id.status).setOnClickListener { if (!mayUseCamera()) ask() }
        if (savedInstanceState == null && !mayUseCamera()) ask()
    }

    override fun onStart() {
        super.onStart()
        start() // here, as the permission may just have been given in the settings
    }

    override fun onDestroy() {
        frames.clearAnalyzer()
        worker.execute { recognizer?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun ask() = askForCamera.launch(Manifest.permission.CAMERA)

    private fun mayUseCamera() =
        checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED

    private fun start() {
        if (!mayUseCamera()) {
            showStatus(getString(R.string.camera_needed))
        } else if (!started) {
            started = true
            val provider = ProcessCameraProvider.getInstance(this)
            provider.addListener(
                { if (!isDestroyed) bind(provider.get()) },
                ContextCompat.getMainExecutor(this),
            )
        }
    }

    private fun bind(cameras: ProcessCameraProvider) {
        mirrored = cameras.hasCamera(CameraSelector.DEFAULT_FRONT_CAMERA)
        val camera =
            if (mirrored) CameraSelector.DEFAULT_FRONT_CAMERA else CameraSelector.DEFAULT_BACK_CAMERA
        if (!cameras.hasCamera(camera)) {
            showStatus(getString(R.string.no_camera))
            return
        }
        frames.setAnalyzer(worker, ::read)
        cameras.bindToLifecycle(this, camera, frames)
    }

    private fun read(frame: ImageProxy) {
        val recognizer = recognizer ?: Recognizer(assets).also { recognizer = it }
        val bitmap = frame.use { it.toBitmap() }
        val pixels = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        val begin = SystemClock.elapsedRealtime()
        val readings = recognizer.recognize(Picture(bitmap.width, bitmap.height, pixels))
        val milliseconds = SystemClock.elapsedRealtime() - begin
        val status = getString(R.string.speed, recognizer.accelerator.name, milliseconds)
        runOnUiThread { show(bitmap, readings, recognizer.spec, status) }
    }

    private fun show(bitmap: Bitmap, readings: List<Reading>, spec: Spec, status: String) {
        val captions = readings.map { it.box to caption(it.probabilities, spec) }
        findViewById<FaceView>(R.id.faces).show(bitmap, captions, mirrored)
        val largest = readings.firstOrNull()?.probabilities
        findViewById<BarsView>(R.id.bars).show(largest?.let { spec.labels.zip(it.toList()) }.orEmpty())
        showStatus(if (readings.isEmpty()) getString(R.string.no_face) else status)
        // Turned upside down, the phone makes no new activity, but its pictures turn.
        @Suppress("DEPRECATION") // its successor needs Android 11
        frames.targetRotation = windowManager.defaultDisplay.rotation
    }

    private fun caption(probabilities: FloatArray, spec: Spec): String {
        val top = probabilities.indices.maxBy { probabilities[it] }
        val share = probabilities[top]
        val text = "${spec.labels[top]} ${percent(share)}"
        return if (share < spec.uncertainBelow) getString(R.string.uncertain, text) else text
    }

    private fun showStatus(text: String) {
        findViewById<TextView>(R.id.status).text = text
    }
}
