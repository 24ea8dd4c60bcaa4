// Films, sends a frame, shows the answer, sends the next: see fer/web/live.py.
const page = element.querySelector(".fer-live");
const settings = JSON.parse(page.dataset.settings);
const stage = page.querySelector(".fer-stage");
const video = stage.querySelector("video");
const button = page.querySelector(".fer-start");
const figures = page.querySelector(".fer-live-figures");
const message = page.querySelector(".fer-live-message");
const result = page.querySelector(".fer-live-result");
const chips = page.querySelector(".fer-live-faces");
const verdict = page.querySelector(".fer-verdict");
const rows = [...page.querySelectorAll(".fer-chart tbody tr")];
const lines = [...page.querySelectorAll(".fer-timeline polyline")];
const plot = page.querySelector(".fer-timeline > svg").viewBox.baseVal;
const colours = rows.map((row) => row.querySelector(".fer-track span").style.backgroundColor);
const canvas = document.createElement("canvas");
const LONGEST = 640; // pixels of a frame's longer side

let stream = null; // of the camera; null while stopped
let began, tracks, past, answered, chosen, announced;

button.addEventListener("click", () => (stream ? stop() : start()));
document.addEventListener("visibilitychange", () => document.hidden && stream && stop());

async function start() {
  button.disabled = true;
  try {
    if (!navigator.mediaDevices) throw new Error("the page must be opened by https or on localhost");
    const camera = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
    });
    video.srcObject = camera;
    await video.play();
    stream = camera;
  } catch (error) {
    say("The camera could not be opened", `${error.message || error.name}. Allow it and try again.`);
    return;
  } finally {
    button.disabled = false;
  }
  button.textContent = "Stop";
  message.replaceChildren();
  result.hidden = false;
  began = performance.now();
  [tracks, past, answered, chosen, announced] = [null, new Map(), [], null, 0];
  while (stream) await step();
}

function stop() {
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  button.textContent = "Start the camera";
  figures.textContent = "";
  stage.querySelectorAll(".fer-box").forEach((box) => box.remove());
}

async function step() {
  const taken = performance.now();
  let answer;
  try {
    answer = await server.read_frame({ image: frame(), tracks, time: (taken - began) / 1000 });
  } catch (error) {
    answer = { error: "the server did not answer; trying again" };
  }
  if (!stream) return;
  if (!answer || answer.error) {
    say("This frame was not read", answer ? answer.error : "the server did not answer");
    tracks = null;
    await wait(1000);
    return;
  }
  message.replaceChildren();
  tracks = answer.tracks;
  show(answer, (taken - began) / 1000);
  const now = performance.now();
  answered = [...answered.filter((time) => now - time < 2000), now];
  const span = (now - answered[0]) / 1000;
  const rate = span > 0.5 ? `${((answered.length - 1) / span).toFixed(0)} frames/s, ` : "";
  figures.textContent = `${rate}${(now - taken).toFixed(0)} ms (${answer.milliseconds.toFixed(0)} ms in the server)`;
  await wait(1000 / settings.rate - (performance.now() - taken));
}

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
}

function frame() {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8);
}

function say(title, text) {
  const box = document.createElement("div");
  box.className = "fer-message fer-alert";
  box.setAttribute("role", "alert");
  box.append(document.createElement("h2"), document.createElement("p"));
  box.children[0].textContent = title;
  box.children[1].textContent = text;
  message.replaceChildren(box);
}

function show(answer, time) {
  const colour = (face) => colours[settings.labels.indexOf(face.label)];
  const name = (face) => `${face.number} ${face.label}${face.uncertain ? "?" : ""}`;
  if (!answer.faces.some((face) => face.number === chosen)) {
    const size = (face) => face.box.width * face.box.height;
    const largest = [...answer.faces].sort((a, b) => size(b) - size(a))[0];
    chosen = largest ? largest.number : null;
  }
  stage.querySelectorAll(".fer-box").forEach((box) => box.remove());
  for (const face of answer.faces) {
    const box = document.createElement("div");
    box.className = "fer-box";
    // The page shows a mirror: what is left in the frame is right.
    box.style.cssText = `left:${(1 - (face.box.x + face.box.width) / answer.width) * 100}%;
      top:${(face.box.y / answer.height) * 100}%;width:${(face.box.width / answer.width) * 100}%;
      height:${(face.box.height / answer.height) * 100}%;--colour:${colour(face)}`;
    const tag = document.createElement("span");
    tag.className = "fer-tag";
    tag.textContent = name(face);
    box.append(tag);
    stage.append(box);
  }
  remember(answer, time);
  choices(answer, name, colour);
  const face = answer.faces.find((face) => face.number === chosen);
  const [title, status] = verdict.children;
  title.textContent = face ? (face.uncertain ? "Uncertain" : name(face).slice(String(face.number).length + 1)) : "No face";
  verdict.style.setProperty("--colour", face ? colour(face) : "transparent");
  if (time - announced > 3 || !status.textContent) {
    // Not with every frame: screen readers read it out.
    announced = time;
    status.textContent = face
      ? `Face ${face.number}: ${face.uncertain ? "uncertain, perhaps " : ""}${face.label}, ${Math.round(face.confidence * 100)}%`
      : "No face in sight";
  }
  rows.forEach((row, index) => {
    const label = settings.labels[index];
    const share = `${((face ? face.probabilities[label] : 0) * 100).toFixed(1)}%`;
    row.querySelector(".fer-track span").style.width = share;
    row.querySelector(".fer-value").textContent = share;
    row.className = face && face.label === label ? "fer-top" : "";
  });
  const seen = past.get(chosen) || [];
  lines.forEach((line, index) => {
    line.setAttribute("points", seen.map(({ at, values }) =>
      `${(1 - (time - at) / settings.window) * plot.width},${(1 - values[index]) * plot.height}`).join(" "));
  });
}

// Keeps what the timeline shows, ten moments a second.
function remember(answer, time) {
  for (const face of answer.faces) {
    const seen = past.get(face.number) || [];
    if (!seen.length || time - seen.at(-1).at >= 0.1)
      seen.push({ at: time, values: settings.labels.map((label) => face.probabilities[label]) });
    past.set(face.number, seen);
  }
  for (const [number, seen] of past) {
    while (seen.length && time - seen[0].at > settings.window) seen.shift();
    if (!seen.length) past.delete(number);
  }
}

function choices(answer, name, colour) {
  const wanted = answer.faces.length > 1 ? answer.faces : [];
  while (chips.children.length > wanted.length) chips.lastChild.remove();
  wanted.forEach((face, index) => {
    let chip = chips.children[index];
    if (!chip) {
      chip = document.createElement("button");
      chip.type = "button";
      chip.className = "fer-chip";
      chip.addEventListener("click", () => (chosen = Number(chip.dataset.number)));
      chips.append(chip);
    }
    chip.dataset.number = face.number;
    chip.textContent = name(face);
    chip.style.setProperty("--colour", colour(face));
    chip.setAttribute("aria-pressed", face.number === chosen);
  });
}
