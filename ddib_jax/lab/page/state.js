// The state of the page, as the address has it, and the states before it.

const OF_COUPLING = ["couple", "couple-strength", "until"];

export class State {
  constructor(query) {
    this.perturb = [];
    this.fields = new Map();
    for (const [name, value] of new URLSearchParams(query)) {
      if (name !== "perturb") this.fields.set(name, value);
      else {
        const at = value.indexOf("=");
        this.perturb.push([value.slice(0, at), Number(value.slice(at + 1))]);
      }
    }
  }

  get(name, usual = "") {
    return this.fields.get(name) ?? usual;
  }

  // A field that is empty is left out, so that the server's default holds.
  set(name, value, { empty = false } = {}) {
    if (value === null || (value === "" && !empty)) this.fields.delete(name);
    else this.fields.set(name, String(value));
    if (!this.fields.has("couple")) OF_COUPLING.forEach((field) => this.fields.delete(field));
  }

  query() {
    const words = new URLSearchParams();
    if (this.fields.has("image")) words.append("image", this.fields.get("image"));
    for (const [name, value] of this.perturb) words.append("perturb", `${name}=${value}`);
    for (const [name, value] of this.fields) if (name !== "image") words.append(name, value);
    return words.toString();
  }
}

export class History {
  constructor() {
    this.past = [];
    this.future = [];
    this.now = null;
  }

  reach(query) {
    if (query === this.now) return false;
    if (this.now !== null) this.past.push(this.now);
    this.past = this.past.slice(-200);
    this.future = [];
    this.now = query;
    return true;
  }

  step(back) {
    const [from, to] = back ? [this.past, this.future] : [this.future, this.past];
    if (!from.length) return null;
    to.push(this.now);
    this.now = from.pop();
    return this.now;
  }
}
