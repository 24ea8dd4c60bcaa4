// The page: a picture or the camera in, boxes and seven bars out.
import { loadRecognizer } from "./emotions.js";

const MOST_PIXELS = 16e6; // of a photo: Safari's canvas holds no more
const at = (name) => document.getElementById(name);
const [picture, button, message, result, figure] = ["picture", "camera", "message", "result", "evidence"].map(at);
const stage = picture.parentElement;
const context = picture.getContext("2d", { willReadFrequently: true });
const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
let recognizer, rows, faces, stream, chosen;

function say(title, text) {
  message.hidden = !title;
  [message.children[0].textContent, message.children[1].textContent] = [title, text];
}

function draw(source, width, height, name) {
  [picture.width, picture.height] = [width, height];
  context.fillStyle = "white"; // below what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  picture.setAttribute("aria-label", name);
  return context.getImageData(0, 0, width, height);
}

const colour = ({ best }) => recognizer.settings.colours[best];
const doubtful = ({ best, probabilities }) => probabilities[best] < recognizer.settings.uncertain_below;
const named = (face) => recognizer.settings.labels[face.best] + (doubtful(face) ? "?" : "");

function show(found) {
  [faces, chosen] = [found, stream && found[chosen] ? chosen : 0];
  stage.querySelectorAll(".fer-box").forEach((box) => box.remove());
  faces.forEach((face, index) => {
    const box = Object.assign(document.createElement("button"), { type: "button", className: "fer-box" });
    const left = stream ? picture.width - face.box.x - face.box.width : face.box.x; // the camera's is a mirror
    const share = { left: left / picture.width, top: face.box.y / picture.height,
      width: face.box.width / picture.width, height: face.box.height / picture.height };
    for (const [side, value] of Object.entries(share)) box.style[side] = `${100 * value}%`;
    box.style.setProperty("--colour", colour(face));
    box.append(Object.assign(document.createElement("span"), { className: "fer-tag", textContent: named(face) }));
    box.addEventListener("click", () => choose(index));
    stage.append(box);
  });
  result.hidden = !faces.length;
  if (faces.length) choose(chosen);
}

function choose(index) {
  const face = faces[(chosen = index)];
  stage.querySelectorAll(".fer-box").forEach((box, at) => box.setAttribute("aria-pressed", at === index));
  const [title, sure] = at("verdict").children;
  at("verdict").style.setProperty("--colour", colour(face));
  title.textContent = doubtful(face) ? "Uncertain" : named(face);
  if (!stream) sure.textContent = `${Math.round(100 * face.probabilities[face.best])}% ${recognizer.settings.labels[face.best]}`;
  rows.forEach((row, label) => {
    const share = `${(100 * face.probabilities[label]).toFixed(1)}%`;
    row.querySelector(".fer-track span").style.width = row.querySelector(".fer-value").textContent = share;
    row.className = label === face.best ? "fer-top" : "";
  });
  [figure.hidden, figure.querySelector("figure").hidden] = [Boolean(stream), true];
}

async function explain() {
  const face = faces[chosen];
  const size = recognizer.settings.tile_size;
  const importance = await recognizer.importance(face);
  const most = importance.reduce((found, value) => Math.max(found, Math.abs(value)), 0.5); // weak stays pale
  const shown = new ImageData(size, size);
  importance.forEach((value, at) => {
    const opacity = (0.7 * Math.abs(value)) / most;
    const over = value > 0 ? [230, 159, 0] : [0, 114, 178]; // as in fer/overlay.py
    const grey = [0.299, 0.587, 0.114].reduce((sum, part, channel) => sum + part * face.tile[3 * at + channel], 0);
    shown.data.set([...over.map((value) => grey + opacity * (value - grey)), 255], 4 * at);
  });
  const canvas = figure.querySelector("canvas");
  [canvas.width, canvas.height] = [size, size];
  canvas.getContext("2d").putImageData(shown, 0, 0);
  canvas.setAttribute("aria-label", `The face, with the parts that speak for ${named(face)} laid over it`);
  figure.querySelector("figure").hidden = false;
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  button.textContent = "Start the camera";
  at("figures").textContent = "";
  stage.classList.remove("mirrored");
}

async function film() {
  if (stream) return stop();
  stream = video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  await video.play();
  button.textContent = "Stop";
  stage.classList.add("mirrored");
  say("", "");
  for (let times = [performance.now()]; stream; times = [...times.slice(-20), performance.now()]) {
    const found = await recognizer.read(draw(video, video.videoWidth, video.videoHeight, "Your camera"));
    if (stream) show(found);
    const rate = (1000 * times.length) / (performance.now() - times[0]);
    if (stream) at("figures").textContent = `${rate.toFixed(0)} frames/s`;
    await new Promise(requestAnimationFrame);
  }
}

async function open(file) {
  stop();
  const photo = await createImageBitmap(file);
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (photo.width * photo.height)));
  const pixels = draw(photo, Math.round(scale * photo.width), Math.round(scale * photo.height), "Your photo");
  say("Reading", "");
  show(await recognizer.read(pixels));
  if (faces.length) say("", "");
  else say("No face found", "Faces are found best when they look towards the camera and are well lit.");
}

// Before anything large is loaded, so that it is kept for the next visit, without a network too.
async function keep() {
  const { serviceWorker } = navigator;
  if (!serviceWorker || serviceWorker.controller) return;
  const ready = new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve));
  await serviceWorker.register("sw.js");
  await Promise.race([ready, new Promise((resolve) => setTimeout(resolve, 3000))]);
}

const told = (title, task) => (event) => task(event).catch((error) => say(title, error.message || String(error)));

await told("The page could not be loaded", async () => {
  await keep().catch(() => {}); // no storage: the page works, as long as there is a network
  recognizer = await loadRecognizer();
  rows = recognizer.settings.labels.map((label, index) => {
    const row = at("row").content.firstElementChild.cloneNode(true);
    row.querySelector("th").textContent = label;
    row.querySelector(".fer-track span").style.background = recognizer.settings.colours[index];
    at("row").before(row);
    return row;
  });
  button.addEventListener("click", told("The camera could not be opened", film));
  at("photo").addEventListener("change", told("This photo could not be read", ({ target }) => open(target.files[0])));
  at("explain").addEventListener("click", told("This face could not be explained", explain));
  button.disabled = at("photo").disabled = false;
  say("Ready", "Start the camera or choose a photo.");
})();
