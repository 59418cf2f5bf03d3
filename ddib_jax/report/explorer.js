// Sliders over the coefficients and the images of a sweep, all of which the page holds.
"use strict";
const { coefficients, images, pixelated, figures } = JSON.parse(document.getElementById("sweep").textContent);
const at = (id) => document.getElementById(id);
const state = { coefficient: 0, image: 0 };

function buttons(row, count, label, choose) {
  return Array.from({ length: count }, (_, index) => {
    const button = row.appendChild(document.createElement("button"));
    button.type = "button";
    const picture = button.appendChild(document.createElement("img"));
    picture.alt = "";
    const words = label(index);
    if (words) button.append(words);
    button.addEventListener("click", () => choose(index));
    return button;
  });
}

function move(field, value) {
  const last = (field === "image" ? images : coefficients).length - 1;
  state[field] = Math.min(Math.max(value, 0), last);
  draw();
}

const ofImage = buttons(at("coefficients"), coefficients.length, (i) => coefficients[i], (i) => move("coefficient", i));
const ofCoefficient = buttons(at("images"), images.length, () => "", (i) => move("image", i));
ofCoefficient.forEach((button, i) => button.setAttribute("aria-label", images[i].name));

function picture(id, source, words) {
  at(id + "-figure")?.toggleAttribute("hidden", !source);
  if (source) Object.assign(at(id), { src: source, alt: words });
}

function draw() {
  const { coefficient, image } = state;
  const shown = images[image];
  picture("source", shown.source, `source ${shown.name}`);
  picture("latent", shown.latents[coefficient], `perturbed latent of ${shown.name}`);
  picture("translation", shown.translations[coefficient], `translation of ${shown.name} at ${coefficients[coefficient]}`);
  for (const field of ["coefficient", "image"]) at(field).value = state[field];
  at("value").textContent = coefficients[coefficient];
  at("name").textContent = `${shown.name} (${image + 1} of ${images.length})`;
  at("coefficient").setAttribute("aria-valuetext", coefficients[coefficient]);
  at("image").setAttribute("aria-valuetext", shown.name);
  ofImage.forEach((button, i) => {
    button.firstChild.src = shown.translations[i];
    button.setAttribute("aria-pressed", i === coefficient);
  });
  ofCoefficient.forEach((button, i) => {
    button.firstChild.src = images[i].translations[coefficient];
    button.setAttribute("aria-pressed", i === image);
  });
  if (figures) {
    const row = figures.rows[coefficient].slice(1);
    at("figures").textContent = "Perturbed latents of the whole run: "
      + figures.heads.map((head, i) => `${head.toLowerCase()} ${row[i] ?? "–"}`).join(", ") + ".";
  }
}

document.querySelector(".explorer").classList.toggle("pixelated", pixelated);
for (const [field, items] of [["coefficient", coefficients], ["image", images]]) {
  at(field).max = items.length - 1;
  at(field).disabled = items.length < 2;
  at(field).addEventListener("input", () => move(field, at(field).valueAsNumber));
}
if (coefficients.length <= 12) {
  coefficients.forEach((text, i) => {
    const tick = at("ticks").appendChild(document.createElement("span"));
    tick.textContent = text;
    // Below the middle of the slider's knob, which does not leave its track.
    const part = i / Math.max(coefficients.length - 1, 1);
    tick.style.left = `calc(${100 * part}% + ${8 - 16 * part}px)`;
  });
}
const KEYS = { ArrowLeft: ["coefficient", -1], ArrowRight: ["coefficient", 1], ArrowUp: ["image", -1], ArrowDown: ["image", 1] };
document.addEventListener("keydown", (event) => {
  if (!(event.key in KEYS) || event.altKey || event.ctrlKey || event.metaKey) return;
  const [field, step] = KEYS[event.key];
  event.preventDefault();
  move(field, state[field] + step);
});
draw();
