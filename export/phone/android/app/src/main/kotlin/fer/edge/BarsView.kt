package fer.edge

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import kotlin.math.roundToInt

/** One bar per label: the probabilities of the largest face. */
class BarsView(context: Context, attributes: AttributeSet) : View(context, attributes) {
    private val density = resources.displayMetrics.density
    private val bar = Paint().apply { color = context.getColor(R.color.bar) }
    private val text = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        textSize = 14 * density
        color = context.getColor(R.color.text)
    }
    private var shares: List<Pair<String, Float>> = emptyList()

    /** Shows a probability for each label; an empty list where there is no face. */
    fun show(shares: List<Pair<String, Float>>) {
        this.shares = shares
        contentDescription = shares.joinToString { (label, share) -> "$label ${percent(share)}" }
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val row = height.toFloat() / shares.size
        val start = 80 * density
        val end = width - 48 * density
        shares.forEachIndexed { index, (label, share) ->
            val middle = (index + 0.5f) * row
            val baseline = middle - (text.ascent() + text.descent()) / 2
            val length = (end - start) * share
            canvas.drawText(label, 8 * density, baseline, text)
            canvas.drawRect(start, middle - row / 4, start + length, middle + row / 4, bar)
            canvas.drawText(percent(share), start + length + 8 * density, baseline, text)
        }
    }
}

/** A probability as people read it. */
fun percent(share: Float) = "${(100 * share).roundToInt()}%"
