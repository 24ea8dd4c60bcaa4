package fer.edge

import org.json.JSONObject

/**
 * What the app needs of a bundle's `spec.json`.
 *
 * @property tileSize Side of the classifier's square input in pixels.
 * @property crop Framing of the face crop.
 * @property uncertainBelow Confidence under which the top label was wrong at least as often as right.
 * @property labels Names of the classes in output order.
 */
class Spec(
    val tileSize: Int,
    val crop: CropSpec,
    val uncertainBelow: Double,
    val labels: List<String>,
) {
    companion object {
        private const val VERSION = 1

        /** Reads `spec.json` and `labels.txt`, which must name the same classes. */
        fun parse(json: String, labels: String): Spec {
            val spec = JSONObject(json)
            val version = spec.getInt("spec_version")
            require(version == VERSION) {
                "spec_version must be $VERSION, received $version; use the app of the same release"
            }
            val names = spec.getJSONArray("labels").let { List(it.length(), it::getString) }
            require(labels.trim().lines() == names) {
                "labels.txt must hold the labels of spec.json, $names; copy the bundle again"
            }
            val crop = spec.getJSONObject("crop")
            return Spec(
                tileSize = spec.getInt("tile_size"),
                crop = CropSpec(crop.getDouble("scale"), crop.getDouble("offset_y")),
                uncertainBelow = spec.getJSONObject("calibration").getDouble("uncertain_below"),
                labels = names,
            )
        }
    }
}
