import groovy.json.JsonSlurper
import javax.inject.Inject

plugins {
    alias(libs.plugins.android.application)
}

fun named(property: String): String = providers.gradleProperty(property).get()

val bundleFolder: Directory = rootProject.layout.projectDirectory.dir(named("fer.bundle"))

android {
    namespace = "fer.edge"
    compileSdk = 36

    defaultConfig {
        applicationId = "fer.edge.demo"
        minSdk = 24 // LiteRT's
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
    }

    sourceSets.getByName("androidTest").assets.srcDir(bundleFolder.dir("golden"))
}

dependencies {
    implementation(libs.activity)
    implementation(libs.camera.camera2)
    implementation(libs.camera.lifecycle)
    implementation(libs.litert)
    implementation(libs.litert.gpu)
    androidTestImplementation(libs.junit)
    androidTestImplementation(libs.test.ext)
    androidTestImplementation(libs.test.runner)
}

/** Copies what the app reads out of a bundle, after a look at whether the app can read it. */
abstract class CopyBundle : DefaultTask() {
    @get:InputDirectory
    abstract val bundle: DirectoryProperty

    @get:InputFile
    abstract val detector: RegularFileProperty

    @get:OutputDirectory
    abstract val assets: DirectoryProperty

    @get:Inject
    abstract val files: FileSystemOperations

    @TaskAction
    fun copy() {
        val manifest = JsonSlurper().parse(bundle.file("manifest.json").get().asFile) as Map<*, *>
        val ends = manifest["tensors"] as Map<*, *>
        val tensors = ends.values.flatMap { (it as Map<*, *>).values }
        val types = tensors.map { (it as Map<*, *>)["dtype"] }.toSet()
        check(types == setOf("float32")) {
            "fer.bundle must be a bundle whose tensors are all float32, received $types in " +
                "${bundle.get()}; take another variant, such as float16"
        }
        files.sync {
            from(bundle) { include("model.tflite", "spec.json", "labels.txt") }
            from(detector)
            into(assets)
        }
    }
}

androidComponents {
    onVariants { variant ->
        val name = variant.name.replaceFirstChar { it.uppercase() }
        val copy = tasks.register<CopyBundle>("copyBundleFor$name") {
            bundle = bundleFolder
            detector = rootProject.layout.projectDirectory.file(named("fer.detector"))
        }
        variant.sources.assets?.addGeneratedSourceDirectory(copy, CopyBundle::assets)
    }
}
