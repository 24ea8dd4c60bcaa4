// The page: a picture or the camera in, boxes and seven bars out.
const MOST_PIXELS = 16e6; // of a photo: Safari's canvas holds no more
const at = (name) => document.getElementById(name);
const all = (selector) => [...document.querySelectorAll(selector)];
const make = (tag, fields) => Object.assign(document.createElement(tag), fields);
const [picture, camera, photo, message, figures] = ["picture", "camera", "photo", "message", "figures"].map(at);
const context = picture.getContext("2d", { willReadFrequently: true });
const video = make("video", { muted: true, playsInline: true });
let [recognizer, stream, shot, faces, chosen] = [null, null, null, [], 0];

const colour = (best) => recognizer.settings.colours[best];
const uncertain = ({ best, probabilities }) => probabilities[best] < recognizer.settings.uncertain_below;
const named = (face) => recognizer.settings.labels[face.best] + (uncertain(face) ? "?" : "");
const percent = (share) => `${(100 * share).toFixed(1)}%`;

function say(title, text = "") {
  message.hidden = !title;
  [message.children[0].textContent, message.children[1].textContent] = [title, text];
}

async function read(source, width, height, name) {
  [picture.width, picture.height, picture.ariaLabel] = [width, height, name];
  context.fillStyle = "white"; // below what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  shot = context.getImageData(0, 0, width, height);
  return recognizer.read(shot, source === video);
}

function show(found) {
  [faces, chosen] = [found, stream && found[chosen] ? chosen : 0];
  all(".fer-box").forEach((box) => box.remove());
  faces.forEach((face, index) => {
    const { x, y, width, height } = face.box;
    const box = make("button", { type: "button", className: "fer-box", onclick: () => choose(index) });
    const left = stream ? picture.width - x - width : x; // the camera's picture is shown as a mirror
    [box.style.left, box.style.width] = [left, width].map((length) => percent(length / picture.width));
    [box.style.top, box.style.height] = [y, height].map((length) => percent(length / picture.height));
    box.style.setProperty("--colour", colour(face.best));
    box.append(make("span", { className: "fer-tag", textContent: named(face) }));
    picture.after(box);
  });
  at("result").hidden = !faces.length;
  if (faces.length) choose(chosen);
}

function choose(index) {
  const face = faces[(chosen = index)];
  const [title, status] = at("verdict").children;
  at("verdict").style.setProperty("--colour", colour(face.best));
  title.textContent = uncertain(face) ? "Uncertain" : named(face);
  if (!stream) status.textContent = `${named(face)}, ${percent(face.probabilities[face.best])}`;
  all(".fer-chart tbody tr").forEach((row, label) => {
    const [bar, value] = [row.querySelector(".fer-track span"), row.querySelector(".fer-value")];
    bar.style.background = colour(label);
    bar.style.width = value.textContent = percent(face.probabilities[label]);
    row.className = label === face.best ? "fer-top" : "";
  });
  [at("explain").hidden, at("evidence").hidden] = [Boolean(stream), true];
  if (!stream) context.putImageData(shot, 0, 0); // without the evidence of another face
}

async function explain() {
  const size = recognizer.settings.tile_size;
  const face = faces[chosen];
  const importance = await recognizer.importance(face);
  if (face !== faces[chosen]) return;
  const most = importance.reduce((found, value) => Math.max(found, Math.abs(value)), 0.5); // weak stays pale
  const colours = importance.reduce((data, value, at) => {
    data.set([...(value > 0 ? [230, 159, 0] : [0, 114, 178]), (178 * Math.abs(value)) / most], 4 * at);
    return data; // colours and opacity of fer/overlay.py
  }, new Uint8ClampedArray(4 * size * size));
  const canvas = make("canvas", { width: size, height: size });
  canvas.getContext("2d").putImageData(new ImageData(colours, size, size), 0, 0);
  context.drawImage(canvas, ...face.square);
  at("evidence").hidden = false;
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  picture.classList.remove("mirrored");
  [camera.textContent, figures.textContent] = ["Start the camera", ""];
}

async function film() {
  if (stream) return stop();
  camera.disabled = true; // until the visitor has allowed it
  const asked = navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  const mine = (stream = video.srcObject = await asked.finally(() => (camera.disabled = false)));
  await video.play();
  picture.classList.add("mirrored");
  camera.textContent = "Stop";
  say("");
  for (let times = [performance.now()]; stream === mine; times = [...times.slice(-20), performance.now()]) {
    const found = await read(video, video.videoWidth, video.videoHeight, "Your camera");
    if (stream !== mine) return;
    show(found);
    figures.textContent = `${((1000 * times.length) / (performance.now() - times[0])).toFixed(0)} frames/s`;
    await new Promise(requestAnimationFrame);
  }
}

async function open(file) {
  stop();
  say("Reading");
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  show(await read(bitmap, Math.round(scale * bitmap.width), Math.round(scale * bitmap.height), "Your photo"));
  if (faces.length) say("");
  else say("No face found", "Faces are found best when they look towards the camera and are well lit.");
}

// Before anything large is loaded, so that the next visit needs neither to load it nor a network.
async function keep({ serviceWorker }) {
  if (serviceWorker.controller) return;
  const controlled = new Promise((resolve) => (serviceWorker.oncontrollerchange = resolve));
  await serviceWorker.register("sw.js");
  await Promise.race([controlled, new Promise((resolve) => setTimeout(resolve, 3000))]);
}

const told = (title, task) => () => task().catch((error) => say(title, error.message || String(error)));

await told("The page could not be loaded", async () => {
  await keep(navigator).catch(() => {}); // no storage: the page works, as long as there is a network
  recognizer = await (await import("./emotions.js")).loadRecognizer();
  camera.onclick = told("The camera could not be opened", film);
  photo.onchange = told("This photo could not be read", () => open(photo.files[0]));
  at("explain").onclick = told("This face could not be explained", explain);
  camera.disabled = photo.disabled = false;
  say("Ready", "Start the camera or choose a photo.");
})();
