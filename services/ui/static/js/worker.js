/**
 * The service worker of the labelling page: opens it again while the service can't be reached, with what was leased.
 *
 * It keeps three things, all in one cache that belongs to one version of the scripts: the labelling pages that were
 * opened, the scripts and styles that they need, and the images of the tasks that are held. A page comes from the
 * service whenever that answers. Calls and everything else go past it. Signing out empties it.
 */

const STATIC = new URL(location.href).searchParams.get("static");
const CACHE = `winnow${STATIC}`;
const PAGE = /^\/projects\/\d+\/label$/;
const IMAGE = /^\/projects\/\d+\/images\/\d+$/;
const AWAY = [502, 503, 504];

const forget = async () => Promise.all((await caches.keys()).map((name) => caches.delete(name)));

async function forgetOlder() {
  const older = (await caches.keys()).filter((name) => name !== CACHE);
  await Promise.all(older.map((name) => caches.delete(name)));
  await clients.claim();
}

/** From the service, or as it was kept if that is away. */
async function pageOf(request) {
  const { pathname } = new URL(request.url);
  const kept = () => caches.open(CACHE).then((cache) => cache.match(pathname));
  try {
    const response = await fetch(request);
    if (response.type === "opaqueredirect" || response.redirected || [401, 403, 404].includes(response.status)) {
      await (await caches.open(CACHE)).delete(pathname);
    } else if (AWAY.includes(response.status)) {
      return (await kept()) ?? response;
    }
    return response;
  } catch (error) {
    const found = await kept();
    if (found) return found;
    throw error;
  }
}

const keptFirst = async (request) => (await (await caches.open(CACHE)).match(request)) ?? fetch(request);

/** Take pages and scripts in, as they are now. One that can't be had is left out. */
async function keep(paths) {
  const cache = await caches.open(CACHE);
  const wanted = await Promise.all(paths.map(async (path) => ((await cache.match(path)) && !PAGE.test(path) ? null : path)));
  await Promise.allSettled(wanted.filter(Boolean).map(async (path) => {
    const response = await fetch(path, { credentials: "same-origin" });
    if (response.ok && !response.redirected) await cache.put(path, response);
  }));
}

/** Keep the images of one project that are held now, and no others of it. */
async function hold(base, paths) {
  const cache = await caches.open(CACHE);
  const wanted = new Set(paths);
  for (const request of await cache.keys()) {
    const { pathname } = new URL(request.url);
    if (IMAGE.test(pathname) && pathname.startsWith(`${base}/images/`) && !wanted.has(pathname)) await cache.delete(request);
  }
  await keep(paths);
}

/** Calls don't even wake this worker: a page that is being left has no time to wait for it, and its last call is lost. */
function passCalls(event) {
  return event.addRoutes?.({ condition: { urlPattern: new URLPattern({ pathname: "/v1/*" }) }, source: "network" });
}

addEventListener("install", (event) => event.waitUntil(Promise.all([passCalls(event), skipWaiting()])));
addEventListener("activate", (event) => event.waitUntil(forgetOlder()));

addEventListener("message", (event) => {
  const { pages, base, images } = event.data;
  if (pages) event.waitUntil(keep(pages));
  if (images) event.waitUntil(hold(base, images));
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (origin !== location.origin) return;
  if (request.method === "POST" && pathname === "/sign-out") event.waitUntil(forget());
  if (request.method !== "GET") return;
  if (request.mode === "navigate" && PAGE.test(pathname)) event.respondWith(pageOf(request));
  else if (pathname.startsWith(`${STATIC}/`) || IMAGE.test(pathname)) event.respondWith(keptFirst(request));
});
