package fer.edge

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import kotlin.math.min

/** The picture that was read, with a box and a caption for each face: they always belong together. */
class FaceView(context: Context, attributes: AttributeSet) : View(context, attributes) {
    private val density = resources.displayMetrics.density
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        strokeWidth = 2 * density
        color = Color.WHITE
    }
    private val caption = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        textSize = 16 * density
        color = Color.WHITE
        setShadowLayer(4 * density, 0f, 0f, Color.BLACK)
    }
    private val placed = Matrix()
    private var picture: Bitmap? = null
    private var captions: List<Pair<FaceBox, String>> = emptyList()
    private var mirrored = false

    /** Shows a picture and its faces, as in a mirror or not. */
    fun show(picture: Bitmap, captions: List<Pair<FaceBox, String>>, mirrored: Boolean) {
        this.picture = picture
        this.captions = captions
        this.mirrored = mirrored
        contentDescription = captions.joinToString { (_, caption) -> caption }
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val bitmap = picture ?: return
        val scale = min(width.toFloat() / bitmap.width, height.toFloat() / bitmap.height)
        val left = (width - scale * bitmap.width) / 2
        val top = (height - scale * bitmap.height) / 2
        placed.setScale(scale, scale)
        if (mirrored) placed.postScale(-1f, 1f, scale * bitmap.width / 2, 0f)
        placed.postTranslate(left, top)
        canvas.drawBitmap(bitmap, placed, null)
        for ((box, text) in captions) {
            val x = if (mirrored) bitmap.width - box.x - box.width else box.x
            val boxLeft = left + scale * x.toFloat()
            val boxTop = top + scale * box.y.toFloat()
            canvas.drawRect(
                boxLeft,
                boxTop,
                boxLeft + scale * box.width.toFloat(),
                boxTop + scale * box.height.toFloat(),
                line,
            )
            canvas.drawText(text, boxLeft, boxTop - caption.descent(), caption)
        }
    }
}
