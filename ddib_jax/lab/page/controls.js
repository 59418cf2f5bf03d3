// The controls of a state: sliders in order, what is kept, what models are told, the ODE.

import { by, choices, make, short } from "./dom.js";

const STAGES = ["image", "level", "latent"];
const stageOf = (slider) => STAGES.indexOf(slider.stage);

const shown = (slider, value) => (slider.logarithmic ? Math.log(value) : value);

function placed(slider, position) {
  const value = slider.logarithmic ? Math.exp(position) : Number(position);
  return Number(value.toPrecision(6));
}

export class Controls {
  // moved(place): while a slider is moved; reached(): when a control was left where it is.
  constructor(facts, { moved, reached }) {
    this.facts = facts;
    this.sliders = new Map(facts.sliders.map((slider) => [slider.name, slider]));
    this.moved = moved;
    this.reached = reached;
    this.bind();
  }

  bind() {
    const { facts } = this;
    choices(by("more"), facts.sliders.map((slider) => [slider.name, slider.name]));
    const about = () => (by("about").textContent = this.about(by("more").value));
    by("more").addEventListener("change", about);
    about();
    by("add").addEventListener("click", () => this.add(by("more").value));
    choices(by("coupling"), [["", "none"], ...facts.couplings.map(({ name }) => [name, name])]);
    choices(by("solver"), facts.solvers.map((name) => [name, name]));
    choices(by("grid"), facts.grids.map((name) => [name, name]));
    by("steps").max = Math.min(by("steps").max, facts.bounds.steps);
    by("coupling").addEventListener("change", () => {
      const kind = this.kind(by("coupling").value);
      this.field("couple", kind ? `${kind.name}:${kind.example}` : "");
    });
    by("argument").addEventListener("change", () => {
      this.field("couple", `${by("coupling").value}:${by("argument").value.trim()}`);
    });
    by("strength").addEventListener("input", () => {
      by("strength-value").textContent = by("strength").value;
    });
    const strength = () => this.field("couple-strength", by("strength").value);
    by("strength").addEventListener("change", strength);
    by("steps").addEventListener("input", () => (by("steps-value").textContent = by("steps").value));
    for (const name of ["until", "steps", "solver", "grid", "seed", "reference"]) {
      by(name).addEventListener("change", () => this.field(name, by(name).value));
    }
    this.sides();
  }

  kind(name) {
    return this.facts.couplings.find((kind) => kind.name === name);
  }

  about(name) {
    const { description, claims } = this.sliders.get(name);
    return [description, ...claims].join("; ") + ".";
  }

  field(name, value, options) {
    this.state.set(name, value, options);
    this.reached();
  }

  add(name) {
    const slider = this.sliders.get(name);
    const { perturb } = this.state;
    let at = perturb.findIndex(([other]) => stageOf(this.sliders.get(other)) > stageOf(slider));
    if (at < 0) at = perturb.length;
    perturb.splice(at, 0, [name, slider.start]);
    this.reached(at);
    by("chain").children[at]?.querySelector("input[type=range]").focus();
  }

  // What a model is told, with labels of its own for each side.
  sides() {
    const rows = [];
    for (const side of ["source", "target"]) {
      const { told, classes } = this.facts[side];
      const add = (field, words, input) => {
        input.id = `${side}-${field}`;
        input.addEventListener("change", () =>
          this.field(input.id, input.value, { empty: field === "prompt" }),
        );
        rows.push(make("label", { text: `${side === "source" ? "Source" : "Target"} ${words} ` }, input));
      };
      if (told === "classes") {
        const select = make("select");
        choices(select, classes.map((word) => [word, word]));
        add("class", "class", select);
      } else if (told === "text") {
        add("prompt", "prompt", make("input", { type: "text", maxLength: 1000 }));
        add("negative", "negative prompt", make("input", { type: "text", maxLength: 1000 }));
      }
      if (told !== "none") {
        add("guidance", "guidance", make("input", { type: "number", step: "any", placeholder: "none" }));
      }
    }
    by("sides").replaceChildren(...rows);
    by("told").hidden = rows.length === 0;
  }

  // Show a state; the element that has the focus keeps it.
  show(state, usual, pictures) {
    this.state = state;
    const focus = document.activeElement?.dataset?.key;
    by("chain").replaceChildren(...state.perturb.map((_, at) => this.item(at)));
    if (focus) document.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
    const [name, ...argument] = state.get("couple").split(":");
    const kind = this.kind(name);
    by("coupling").value = kind ? name : "";
    by("coupled").hidden = !kind;
    by("argument").value = argument.join(":");
    if (kind) {
      by("about-coupling").textContent = `${kind.description}.`;
      by("of-argument").textContent = { N: "Frequencies", "A-B": "From–to", LAYER: "Layer" }[kind.argument];
    }
    by("strength").value = state.get("couple-strength", "1");
    by("strength-value").textContent = by("strength").value;
    by("until").value = state.get("until");
    for (const field of ["steps", "solver", "grid"]) by(field).value = state.get(field, usual[field]);
    by("steps-value").textContent = by("steps").value;
    by("seed").value = state.get("seed", "0");
    for (const input of by("sides").querySelectorAll("input, select")) {
      input.value = state.get(input.id, input.tagName === "SELECT" ? input.value : "");
    }
    const looks = state.perturb.some(([one]) => this.sliders.get(one)?.needs.includes("reference"));
    by("other").hidden = !looks;
    const others = [...this.facts.names.map((one, at) => [String(at), one]), ...pictures];
    choices(by("reference"), others, state.get("reference", "0"));
  }

  item(at) {
    const [name, value] = this.state.perturb[at];
    const slider = this.sliders.get(name);
    const id = `slider-${at}`;
    const [low, high] = [shown(slider, slider.low), shown(slider, slider.high)];
    const range = make("input", { type: "range", id, "data-key": `range-${at}` });
    Object.assign(range, { min: low, max: high, step: slider.logarithmic ? (high - low) / 200 : slider.step });
    range.value = shown(slider, value);
    range.setAttribute("aria-valuetext", short(value));
    const number = make("input", { type: "number", value: String(value), "data-key": `number-${at}` });
    Object.assign(number, { min: slider.least, max: slider.most, step: slider.whole ? 1 : "any" });
    number.setAttribute("aria-label", `${name}, in figures`);
    const to = (next) => {
      this.state.perturb[at] = [name, next];
      range.setAttribute("aria-valuetext", short(next));
    };
    range.addEventListener("input", () => {
      const next = placed(slider, range.value);
      number.value = String(next);
      to(next);
      this.moved(at);
    });
    range.addEventListener("change", () => this.reached(at));
    number.addEventListener("change", () => {
      if (number.value === "") return;
      to(Number(number.value));
      this.reached(at);
    });
    const button = (text, words, enabled, work) => {
      const made = make("button", { type: "button", text, title: words, disabled: !enabled, onclick: work });
      made.setAttribute("aria-label", `${words}: ${name}`);
      return made;
    };
    const may = (one, other) => {
      const chain = this.state.perturb;
      return other >= 0 && other < chain.length &&
        stageOf(this.sliders.get(chain[one][0])) === stageOf(this.sliders.get(chain[other][0]));
    };
    const swap = (other) => () => {
      const chain = this.state.perturb;
      [chain[at], chain[other]] = [chain[other], chain[at]];
      this.reached(other);
    };
    const neutral = slider.neutral;
    const reset = neutral === null ? slider.start : neutral;
    return make(
      "li",
      {},
      make(
        "div",
        { className: "head" },
        make("label", { htmlFor: id, text: name, title: this.about(name) }),
        button("↺", "Back to where it does nothing", value !== reset, () => { to(reset); this.reached(at); }),
        button("↑", "Earlier", may(at, at - 1), swap(at - 1)),
        button("↓", "Later", may(at, at + 1), swap(at + 1)),
        button("×", "Remove", true, () => { this.state.perturb.splice(at, 1); this.reached(Math.max(0, at - 1)); }),
        number,
      ),
      range,
      make("p", { className: "hint", text: this.about(name) }),
    );
  }
}
