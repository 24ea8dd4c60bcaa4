// Without a network, the page's files are those that app.js kept. With one, each is asked for anew: the browser's
// own cache may mix two versions of the page.
const answer = (asked) => fetch(asked, { cache: "no-cache" }).catch(() => caches.match(asked, { ignoreSearch: true }));
self.onfetch = (event) => event.respondWith(answer(event.request));
