// What is seen: the strip, the wipe, the figures, the seven values and the film.

import { by, make, short } from "./dom.js";

export function show(found) {
  for (const [name, picture] of Object.entries(found.pictures)) by(name).src = picture;
  by("before").src = found.pictures.image;
  by("after").src = found.pictures.translation;
}

export function stale(which, yes) {
  for (const name of which) by(name).classList.toggle("stale", yes);
}

export function wipe() {
  const at = by("at");
  const part = () => by("wipe").style.setProperty("--at", `${at.value}%`);
  at.addEventListener("input", part);
  part();
}

const degrees = (value) => (value === null ? "grey" : `${Math.round(value)}°`);

export function figures(known) {
  const rows = [];
  const { figures: found, back, near } = known;
  if (near?.called) {
    const [before, after] = near.called.map(
      (one) => `${one.word} (${Math.round(100 * one.probability)} %)`,
    );
    rows.push(["called", `${before} → ${after}`, "by the digit classifier"]);
  }
  if (found?.hue) {
    const { image, translation, distance } = found.hue;
    const apart = distance === null ? "" : `${Math.round(distance)}° apart`;
    rows.push(["hue", `${degrees(image)} → ${degrees(translation)}`, apart]);
  }
  if (found) {
    const pair = (name) => `${short(found.latent[name])} → ${short(found.perturbed[name])}`;
    rows.push(["latent variance", pair("variance"), "1 for N(0, I)"]);
    rows.push(["latent kurtosis", pair("kurtosis"), "in excess of a Gaussian’s"]);
  }
  if (back) rows.push(["back again", short(back.error), "from the image, relative RMSE"]);
  const list = rows.map(([name, value, note]) =>
    make("div", {}, make("dt", { text: name }), make("dd", { text: value }, make("small", { text: note }))),
  );
  if (near?.nearest) {
    const { picture, distance, searched } = near.nearest;
    const alt = "The training image that is nearest to the translation";
    list.push(
      make(
        "div",
        {},
        make("dt", { text: "nearest training image" }),
        make(
          "dd",
          { className: "nearest" },
          make("img", { src: picture, alt }),
          make("span", { text: short(distance) }, make("small", { text: `RMSE, of ${searched} looked through` })),
        ),
      ),
    );
  }
  by("figures").replaceChildren(...list);
}

export function seven(row, slider, chosen, choose) {
  const title = `The same slider at ${row.values.length === 7 ? "seven" : row.values.length} values`;
  by("of-row").textContent = `${title}: ${slider.name}`;
  by("row").replaceChildren(
    ...row.values.map((value, at) => {
      const text = short(value);
      const image = make("img", { src: row.pictures[at], alt: "" });
      const pressed = String(short(chosen) === text);
      const label = `${slider.name} at ${text}`;
      return make(
        "button",
        { type: "button", "aria-pressed": pressed, "aria-label": label, onclick: () => choose(value) },
        image,
        text,
      );
    }),
  );
}

export class Film {
  constructor() {
    this.timer = null;
    by("moment").addEventListener("input", () => this.stop() || this.frame(Number(by("moment").value)));
    by("play").addEventListener("click", () => (this.timer ? this.stop() : this.start()));
  }

  load(film) {
    this.film = film;
    by("moment").max = film.frames.length - 1;
    by("reel").hidden = by("frame").hidden = false;
    this.frame(0);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.start();
  }

  clear() {
    this.stop();
    by("reel").hidden = by("frame").hidden = true;
  }

  frame(at) {
    const { frames, sigmas, turn } = this.film;
    by("frame").src = frames[at];
    by("moment").value = at;
    const way = at < turn ? "up" : at === turn ? "the latent" : "down";
    by("sigma").textContent = `${way}, σ = ${short(sigmas[at])}`;
  }

  start() {
    by("play").textContent = "Pause";
    by("play").setAttribute("aria-pressed", "true");
    this.timer = setInterval(() => {
      const next = Number(by("moment").value) + 1;
      if (next >= this.film.frames.length) this.stop();
      else this.frame(next);
    }, 90);
    if (Number(by("moment").value) >= this.film.frames.length - 1) this.frame(0);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    by("play").textContent = "Play";
    by("play").setAttribute("aria-pressed", "false");
  }
}
