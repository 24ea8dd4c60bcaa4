// The page: a picture or the camera in, boxes and seven bars out.
const at = (id) => document.getElementById(id);
const [stage, picture, camera, photo, figures, verdict] = "stage picture camera photo figures verdict".split(" ").map(at);
const boxes = [document.querySelector(".fer-box")]; // as many as there were ever faces
const bars = document.querySelectorAll(".fer-chart tbody tr");
const context = picture.getContext("2d", { willReadFrequently: true });
const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
let [recognizer, stream, shot, faces, chosen] = [null, null, null, [], 0];
const percent = (share) => `${(100 * share).toFixed(1)}%`;

const say = (title, text = "") =>
  ([at("message").hidden, at("title").textContent, at("text").textContent] = [!title, title, text]);

async function read(source, width, height, name) {
  stage.classList.toggle("mirrored", source === video);
  [picture.width, picture.height, picture.ariaLabel] = [width, height, name];
  context.fillStyle = "white"; // below what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  source.close?.(); // hundreds of MB, for a photo
  const mine = (shot = context.getImageData(0, 0, width, height));
  const found = await recognizer.read(shot, source === video);
  if (shot === mine) show(found); // the visitor may have stopped or chosen another
}

function show(found) {
  const { width: across, height: down } = picture;
  const last = stage.matches(".mirrored") && faces[chosen]?.box; // the choice stays with whoever is nearest to it
  const away = found.map(({ box }) => (last ? Math.hypot(box.x - last.x, box.y - last.y) : 0));
  faces = found;
  while (boxes.length < faces.length) boxes.push(stage.appendChild(boxes[0].cloneNode(true)));
  boxes.forEach((box, index) => Object.assign(box, { hidden: !faces[index], onclick: () => choose(index) }));
  faces.forEach(({ box: { x, y, width, height }, name, colour }, index) => {
    const [left, wide, top, high] = [x / across, width / across, y / down, height / down].map(percent);
    boxes[index].style.cssText = `left:${left};width:${wide};top:${top};height:${high};--colour:${colour}`;
    boxes[index].classList.toggle("fer-low", boxes[index].offsetTop < 26); // no room for the name above
    boxes[index].firstElementChild.textContent = name;
  });
  at("result").hidden = !faces.length;
  if (faces.length) choose(away.indexOf(Math.min(...away)));
}

function choose(index) {
  const { name, colour, best, probabilities, uncertain } = faces[(chosen = index)];
  verdict.style.setProperty("--colour", colour);
  verdict.firstElementChild.textContent = uncertain ? "Uncertain" : name;
  verdict.lastElementChild.textContent = stream ? "" : `${name}, ${percent(probabilities[best])}`;
  boxes.forEach((box, at) => (box.ariaPressed = at === index));
  bars.forEach((row, label) => {
    const [bar, value] = [row.querySelector(".fer-track span"), row.querySelector(".fer-value")];
    bar.style.background = recognizer.settings.colours[label];
    bar.style.width = value.textContent = percent(probabilities[label]);
    row.className = label === best ? "fer-top" : "";
  });
  [at("explain").hidden, at("evidence").hidden] = [Boolean(stream), true];
  if (!stream) context.putImageData(shot, 0, 0); // without the evidence of another face
}

async function explain() {
  const [face, { tile_size: size, evidence_colours: colours }] = [faces[chosen], recognizer.settings];
  const importance = await recognizer.importance(face);
  if (face !== faces[chosen]) return;
  const most = importance.reduce((found, value) => Math.max(found, Math.abs(value)), 0.5); // weak stays pale
  const map = new OffscreenCanvas(size, size).getContext("2d");
  importance.forEach((value, pixel) => {
    [map.fillStyle, map.globalAlpha] = [colours[value > 0 ? 0 : 1], (0.7 * Math.abs(value)) / most];
    map.fillRect(pixel % size, Math.floor(pixel / size), 1, 1);
  });
  context.putImageData(shot, 0, 0); // it may have been asked for twice
  context.drawImage(map.canvas, ...face.square);
  at("evidence").hidden = false;
}

function stop(seen = faces) {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  [camera.textContent, figures.textContent, photo.value] = ["Start the camera", "", ""];
  show(seen); // the last frame is a photo now
}

async function film() {
  if (stream) return stop();
  if (!navigator.mediaDevices) throw new Error("The page must be opened by https or on localhost.");
  camera.disabled = true; // until the visitor has allowed it
  const asked = navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  const mine = (stream = video.srcObject = await asked.finally(() => { camera.disabled = false; camera.focus(); }));
  mine.getTracks()[0].onended = () => { stop(); say("The camera is gone"); };
  await video.play();
  for (let times = [performance.now()]; stream === mine; times = [...times.slice(-20), performance.now()]) {
    const rate = (1000 * (times.length - 1)) / (times.at(-1) - times[0]);
    [camera.textContent, at("message").hidden, figures.textContent] = ["Stop", true, rate ? `${rate.toFixed()} frames/s` : ""];
    await read(video, video.videoWidth, video.videoHeight, "Your camera");
    await new Promise((next) => video.requestVideoFrameCallback(next));
  }
}

async function open(file) {
  stop([]);
  say("Reading");
  const bitmap = await createImageBitmap((shot = file));
  if (shot !== file) return bitmap.close(); // the visitor chose another while this was decoded
  // No canvas holds more (Safari: 16.7 million, Firefox: 32767 along a side).
  const scale = Math.min(1, 4e3 / Math.sqrt(bitmap.width * bitmap.height), 32e3 / Math.max(bitmap.width, bitmap.height));
  await read(bitmap, Math.ceil(scale * bitmap.width), Math.ceil(scale * bitmap.height), "Your photo");
  say(faces.length ? "" : "No face found", "Faces are found best when they look towards the camera and are well lit.");
}

// What was loaded, so that the next visit needs no network.
async function keep() {
  await navigator.serviceWorker.register("sw.js");
  const kept = await caches.open("fer-device");
  const again = ({ name }) => kept.add(new Request(name, { cache: "force-cache" })); // not over the wire
  await Promise.all([{ name: "." }, { name: "index.html" }, ...performance.getEntriesByType("resource")].map(again));
}

const told = (title, task) => () => task().catch((error) => say(title, error.message || String(error)));

await told("The page could not be loaded", async () => {
  recognizer = await (await import("./emotions.js")).loadRecognizer();
  await keep().catch(() => {}); // no storage: the page works, as long as there is a network
  camera.onclick = told("The camera could not be opened", film);
  photo.onchange = told("This photo could not be read: try a JPEG or PNG", () => open(photo.files[0]));
  at("explain").onclick = told("This face could not be explained", explain);
  camera.disabled = photo.disabled = false;
  say("Ready", "Start the camera or choose a photo.");
})();
