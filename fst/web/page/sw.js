// Keeps the files of one version of the site, which its address names: sw.js?version=...

const VERSION = new URL(location).searchParams.get("version");
const OWN = `fst ${registration.scope} `; // other sites of the origin have caches of their own
const CACHE = OWN + VERSION;
const HEADERS = { // without them browsers give WebAssembly no threads
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** Models and the engine are kept once they are used: together they are many megabytes. */
const atOnce = (file) => !/^(models|ort|thumbnails)\//.test(file);
const addressOf = (file) => new URL(file, registration.scope).href;

async function install() {
  const answer = await fetch(addressOf("site.json"), { cache: "no-cache" });
  const site = await answer.clone().json();
  if (site.version !== VERSION) throw new Error("the site has changed meanwhile");
  const cache = await caches.open(CACHE);
  await cache.put(addressOf("site.json"), answer);
  const files = Object.keys(site.files).filter(atOnce);
  await cache.addAll(files.map((file) => new Request(addressOf(file), { cache: "no-cache" })));
}

async function activate() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(OWN) && name !== CACHE).map((name) => caches.delete(name)));
  await clients.claim();
}

async function answer(request) {
  const url = new URL(request.url);
  const visit = request.mode === "navigate";
  const file = url.href.slice(registration.scope.length).split(/[?#]/)[0] || "index.html";
  if (url.search && !visit) return fetch(request); // asks for what is newest
  const cache = await caches.open(CACHE);
  const kept = await cache.match(addressOf(file));
  if (kept) return isolated(kept);
  const fetched = await fetch(request);
  if (!fetched.ok) return fetched;
  const { files } = await (await cache.match(addressOf("site.json"))).json();
  if (file in files) cache.put(addressOf(file), fetched.clone()).catch(() => {}); // no room: works online
  return isolated(fetched);
}

function isolated(answer) {
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value); // not beside the server's own
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("message", ({ data }) => data === "activate" && skipWaiting());
addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(registration.scope)) event.respondWith(answer(event.request));
});
