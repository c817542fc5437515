// The service worker: the site without a network, and the headers that WebAssembly's threads need.

const RELOADED = "fst-reloaded";
const LONG_ENOUGH_MS = 3000;

/**
 * Has the service worker take over, which may reload the page, once and before any work. `version`
 * is that of the site as the page has it.
 */
export async function prepare(version) {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return; // not from https:// or localhost: everything is loaded each time
  try {
    const known = await serviceWorker.getRegistration();
    if (known?.waiting) {
      await takeOver(() => known.waiting.postMessage("activate"));
      return reloadOnce();
    }
    if (known?.active) findNewer(version);
    else await register(version);
    if (!serviceWorker.controller) await takeOver();
  } catch (error) {
    console.warn("Not available offline:", error); // as in private windows; all else works
    return;
  }
  if (!self.crossOriginIsolated && serviceWorker.controller) await reloadOnce();
}

const register = (version) => navigator.serviceWorker.register(`sw.js?version=${version}`);

function takeOver(start = () => {}) {
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(resolve, LONG_ENOUGH_MS);
    start();
  });
}

async function reloadOnce() {
  if (sessionStorage.getItem(RELOADED)) return;
  sessionStorage.setItem(RELOADED, "yes");
  location.reload();
  await new Promise(() => {}); // nothing more is begun here
}

/** A newer site is fetched beside this one, and shown at the next visit. */
async function findNewer(version) {
  const answer = await fetch("site.json?newest", { cache: "no-store" }).catch(() => null);
  const newest = answer?.ok && (await answer.json()).version;
  if (newest && newest !== version) await register(newest);
}
