/** So that the labelling page opens again without the service: what it needs, and which tasks are held. */

const STATIC = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Where there is none (plain HTTP from another machine, an old browser) the page works, but doesn't open again. */
async function worker() {
  if (!("serviceWorker" in navigator)) return null;
  try {
    await navigator.serviceWorker.register(`/worker.js?static=${STATIC}`);
    return (await navigator.serviceWorker.ready).active;
  } catch (error) {
    console.info("this page can't be opened without a connection", error.message);
    return null;
  }
}

export class Held {
  constructor(project, user) {
    this.base = `/projects/${project}`;
    this.name = `winnow.held.${user}.${project}`;
    this.written = "";
    this.worker = worker();
    this.#keepPage();
  }

  /** The tasks that were held when this page was last open, unless it gave them back. */
  load() {
    try {
      return JSON.parse(localStorage.getItem(this.name) ?? "[]");
    } catch {
      return [];
    }
  }

  /** These are held now. */
  save(tasks) {
    const plain = tasks.map(({ task_id, fence, lease_until, image }) => ({ task_id, fence, lease_until, image }));
    const text = JSON.stringify(plain);
    if (text === this.written) return;
    this.written = text;
    try {
      localStorage.setItem(this.name, text);
    } catch {
      return; // a private window, a full disk: they are held for as long as the page lives
    }
    this.worker.then((one) => one?.postMessage({ base: this.base, images: plain.map((task) => task.image.url) }));
  }

  async #keepPage() {
    const loaded = performance.getEntriesByType("resource").map((one) => new URL(one.name).pathname);
    const pages = [location.pathname, ...loaded.filter((path) => path.startsWith(`${STATIC}/`))];
    (await this.worker)?.postMessage({ pages });
  }
}
