/**
 * What must not be lost, by key, kept in two places.
 *
 * localStorage takes it at once, so that a page may be closed the moment after; but a browser writes it to disk only
 * now and then. IndexedDB, asked for strict durability, has it on disk shortly after, whatever becomes of the browser or
 * the machine. What is in either is kept: handling something twice must be harmless.
 */

const PATIENCE_MS = 2_000;
const STORE = "kept";

export class Kept {
  constructor(prefix) {
    this.prefix = prefix;
    this.database = open().catch(() => null);
  }

  /** Everything that is kept; an entry that only IndexedDB has is `recovered`, and may be older than it was. */
  async load() {
    const found = new Map();
    for (const entry of await this.#fromDisk()) found.set(entry.key, { ...entry, recovered: true });
    this.#storage((kept) => {
      for (const name of Object.keys(kept)) {
        if (name.startsWith(this.prefix)) found.set(name.slice(this.prefix.length), JSON.parse(kept.getItem(name)));
      }
    });
    return [...found.values()];
  }

  save(entry) {
    this.#storage((kept) => kept.setItem(this.prefix + entry.key, JSON.stringify(entry)));
    this.#write((store) => store.put(JSON.parse(JSON.stringify(entry)), this.prefix + entry.key));
  }

  forget(key) {
    this.#storage((kept) => kept.removeItem(this.prefix + key));
    this.#write((store) => store.delete(this.prefix + key));
  }

  /** Without storage (a private window, a full disk) things are kept for as long as the page lives. */
  #storage(use) {
    try {
      use(localStorage);
    } catch (error) {
      console.warn("answers can't be kept in this browser", error);
    }
  }

  async #write(change) {
    const database = await this.database;
    try {
      if (database) change(database.transaction(STORE, "readwrite", { durability: "strict" }).objectStore(STORE));
    } catch (error) {
      console.warn("answers are kept less safely", error); // the browser has closed its database
    }
  }

  async #fromDisk() {
    const database = await this.database;
    if (!database) return [];
    const range = IDBKeyRange.bound(this.prefix, `${this.prefix}\uffff`);
    return settled(database.transaction(STORE).objectStore(STORE).getAll(range)).catch(() => []);
  }
}

function open() {
  const request = indexedDB.open("winnow", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

/** Some browsers never answer in a private window. */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    setTimeout(() => reject(new Error("IndexedDB does not answer")), PATIENCE_MS);
  });
}
