// The page: a picture or the camera in, boxes and seven bars out.
import { loadRecognizer } from "./emotions.js";

const MOST_PIXELS = 16e6; // of a photo: Safari's canvas holds no more
const at = (name) => document.getElementById(name);
const make = (tag, fields) => Object.assign(document.createElement(tag), fields);
const [picture, camera, photo, message, figures] = ["picture", "camera", "photo", "message", "figures"].map(at);
const stage = picture.parentElement;
const context = picture.getContext("2d", { willReadFrequently: true });
const video = make("video", { muted: true, playsInline: true });
let recognizer, shot, faces, stream;
let chosen = 0;

function say(title, text = "") {
  message.hidden = !title;
  [message.children[0].textContent, message.children[1].textContent] = [title, text];
}

function draw(source, width, height, name) {
  [picture.width, picture.height, picture.ariaLabel] = [width, height, name];
  context.fillStyle = "white"; // below what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return (shot = context.getImageData(0, 0, width, height));
}

function show(found) {
  faces = found;
  stage.querySelectorAll(".fer-box").forEach((box) => box.remove());
  at("result").hidden = !faces.length;
  faces.forEach((face, index) => {
    const { x, y, width, height } = face.box;
    const left = stream ? picture.width - x - width : x; // the camera's picture is shown as a mirror
    const box = make("button", { type: "button", className: "fer-box", onclick: () => choose(index) });
    [box.style.left, box.style.width] = [left, width].map((length) => percent(length / picture.width));
    [box.style.top, box.style.height] = [y, height].map((length) => percent(length / picture.height));
    box.style.setProperty("--colour", colour(face));
    box.append(make("span", { className: "fer-tag", textContent: named(face) }));
    stage.append(box);
  });
  if (faces.length) choose(stream && faces[chosen] ? chosen : 0);
}

const colour = ({ best }) => recognizer.settings.colours[best];
const uncertain = ({ best, probabilities }) => probabilities[best] < recognizer.settings.uncertain_below;
const named = (face) => recognizer.settings.labels[face.best] + (uncertain(face) ? "?" : "");
const percent = (share) => `${(100 * share).toFixed(1)}%`;

function choose(index) {
  const face = faces[(chosen = index)];
  stage.querySelectorAll(".fer-box").forEach((box, at) => (box.ariaPressed = String(at === index)));
  const [title, status] = at("verdict").children;
  at("verdict").style.setProperty("--colour", colour(face));
  title.textContent = uncertain(face) ? "Uncertain" : named(face);
  if (!stream) status.textContent = `${named(face)}, ${percent(face.probabilities[face.best])}`;
  document.querySelectorAll(".fer-chart tbody tr").forEach((row, label) => {
    const [bar, value] = [row.querySelector(".fer-track span"), row.querySelector(".fer-value")];
    bar.style.background = recognizer.settings.colours[label];
    bar.style.width = value.textContent = percent(face.probabilities[label]);
    row.className = label === face.best ? "fer-top" : "";
  });
  at("explain").hidden = Boolean(stream);
  at("evidence").hidden = true;
  if (!stream) context.putImageData(shot, 0, 0); // without the evidence of another face
}

async function explain() {
  const size = recognizer.settings.tile_size;
  const importance = await recognizer.importance(faces[chosen]);
  const most = importance.reduce((found, value) => Math.max(found, Math.abs(value)), 0.5); // weak stays pale
  const layer = new ImageData(size, size);
  importance.forEach((value, at) => {
    layer.data.set([...(value > 0 ? [230, 159, 0] : [0, 114, 178]), (178 * Math.abs(value)) / most], 4 * at); // as fer/overlay.py
  });
  const canvas = make("canvas", { width: size, height: size });
  canvas.getContext("2d").putImageData(layer, 0, 0);
  context.drawImage(canvas, ...faces[chosen].square);
  at("evidence").hidden = false;
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  stage.classList.remove("mirrored");
  [camera.textContent, figures.textContent] = ["Start the camera", ""];
}

async function film() {
  if (stream) return stop();
  stream = video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  await video.play();
  stage.classList.add("mirrored");
  camera.textContent = "Stop";
  say("");
  for (let times = [performance.now()]; stream; times = [...times.slice(-20), performance.now()]) {
    const found = await recognizer.read(draw(video, video.videoWidth, video.videoHeight, "Your camera"), true);
    if (!stream) return;
    show(found);
    figures.textContent = `${((1000 * times.length) / (performance.now() - times[0])).toFixed(0)} frames/s`;
    await new Promise(requestAnimationFrame);
  }
}

async function open(file) {
  stop();
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const sides = [bitmap.width, bitmap.height].map((side) => Math.round(scale * side));
  say("Reading");
  show(await recognizer.read(draw(bitmap, ...sides, "Your photo")));
  if (faces.length) say("");
  else say("No face found", "Faces are found best when they look towards the camera and are well lit.");
}

// Before anything large is loaded, so that the next visit needs neither to load it nor a network.
async function keep() {
  const { serviceWorker } = navigator;
  if (!serviceWorker || serviceWorker.controller) return;
  const controlled = new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve));
  await serviceWorker.register("sw.js");
  await Promise.race([controlled, new Promise((resolve) => setTimeout(resolve, 3000))]);
}

const told = (title, task) => (event) => task(event).catch((error) => say(title, error.message || String(error)));

await told("The page could not be loaded", async () => {
  await keep().catch(() => {}); // no storage: the page works, as long as there is a network
  recognizer = await loadRecognizer();
  camera.onclick = told("The camera could not be opened", film);
  photo.onchange = told("This photo could not be read", () => open(photo.files[0]));
  at("explain").onclick = told("This face could not be explained", explain);
  camera.disabled = photo.disabled = false;
  say("Ready", "Start the camera or choose a photo.");
})();
