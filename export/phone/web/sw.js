// Without a network, the page's files are those that app.js kept.
self.onfetch = (event) =>
  event.respondWith(fetch(event.request).catch(() => caches.match(event.request, { ignoreSearch: true })));
