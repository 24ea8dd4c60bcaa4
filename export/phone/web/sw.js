// Keeps every file of the page, so that from the second visit on it works without a network.
const CACHE = "fer-device";
const FIRST = "./ app.js fer.css style.css icon.png manifest.json"; // loaded before this runs

self.addEventListener("install", (event) => event.waitUntil(caches.open(CACHE).then((kept) => kept.addAll(FIRST.split(" ")))));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

// The network's answer where there is one: what did not change is in the browser's own cache.
async function answer(request) {
  const kept = await caches.open(CACHE);
  const response = await fetch(request).catch(() => Response.error());
  if (response.ok) await kept.put(request, response.clone());
  return response.ok ? response : ((await kept.match(request, { ignoreSearch: true })) ?? response);
}
