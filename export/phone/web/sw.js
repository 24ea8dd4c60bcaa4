// Keeps every file of the page, so that it works without a network from the second visit on.
const VERSION = "development"; // the exporter's: a hash of all files
const SMALL = ["./", "app.js", "emotions.js", "faces.js", "tile.js", "fer.css", "style.css", "icon.png", "manifest.json"];

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

async function install() {
  const kept = await caches.open(VERSION);
  await kept.addAll(SMALL.map((file) => new Request(file, { cache: "no-cache" })));
  for (const name of (await caches.keys()).filter((name) => name !== VERSION))
    for (const { url } of await (await caches.open(name)).keys()) // an update: all that the last version had
      if (!(await kept.match(url))) await kept.add(new Request(url, { cache: "no-cache" })).catch(() => {});
}

async function activate() {
  for (const name of await caches.keys()) if (name !== VERSION) await caches.delete(name);
  await self.clients.claim();
}

async function answer(request) {
  const kept = await caches.open(VERSION);
  const found = await kept.match(request, { ignoreSearch: true });
  if (found) return found;
  const response = await fetch(request);
  if (response.ok) await kept.put(request, response.clone());
  return response;
}
