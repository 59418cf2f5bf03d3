// Questions to the server: the newest position alone counts.

const client = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2, 18);
let position = Date.now();
let pending = 0;
const watchers = new Set();

export class Said extends Error {}

async function answer(response) {
  if (response.status === 409) return null;
  const type = response.headers.get("content-type") || "";
  if (!response.ok) {
    const text = type.includes("json") ? (await response.json()).said : await response.text();
    throw new Said(text || `The server answered ${response.status}.`);
  }
  return response.json();
}

async function fetched(path, options) {
  pending += 1;
  watchers.forEach((watch) => watch(pending));
  try {
    return await answer(await fetch(path, options));
  } catch (error) {
    if (error instanceof Said) throw error;
    throw new Said("The server does not answer; is `ddib lab` still running?");
  } finally {
    pending -= 1;
    watchers.forEach((watch) => watch(pending));
  }
}

export const watch = (watcher) => watchers.add(watcher);
export const facts = () => fetched("facts");
export const line = async () => (await fetch("line")).json();

// A new position of the page: what was asked for older ones is dropped.
export const moved = () => (position += 1);
export const newest = (mine) => mine === position;

const headers = () => ({ "x-client": client, "x-position": String(position) });

export const compute = (kind, query, { place = 0 } = {}) =>
  fetched(`compute/${kind}`, {
    method: "POST",
    body: query,
    headers: { ...headers(), "x-place": String(place), "content-type": "text/plain" },
  });

export const give = (blob, name) =>
  fetched("picture", {
    method: "POST",
    body: blob,
    headers: {
      ...headers(),
      "x-name": encodeURIComponent(name).slice(0, 150),
      "content-type": "application/octet-stream",
    },
  });

// One preview is under way at a time, and after it the newest one that was asked for.
export class Latest {
  constructor(work) {
    this.work = work;
    this.busy = false;
    this.next = null;
  }

  async ask(value) {
    if (this.busy) {
      this.next = { value };
      return;
    }
    this.busy = true;
    try {
      await this.work(value);
    } finally {
      this.busy = false;
    }
    const next = this.next;
    this.next = null;
    if (next) await this.ask(next.value);
  }

  forget() {
    this.next = null;
  }
}
