// Taking a state along: copied as a link, a command or Python, or saved as files.

import { compute } from "./ask.js";
import { by, make } from "./dom.js";

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Where a page is not allowed the clipboard: a selection that the browser copies.
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = before), 1200);
}

function save(name, href) {
  const link = make("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

const SIDE = 256;
const STRIP = ["image", "latent", "perturbed", "translation", "back"];

// The strip as one picture, every one of its pictures enlarged without smoothing.
function strip() {
  const canvas = make("canvas", { width: STRIP.length * (SIDE + 8) - 8, height: SIDE });
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  STRIP.forEach((name, at) => {
    if (by(name).complete && by(name).naturalWidth) pen.drawImage(by(name), at * (SIDE + 8), 0, SIDE, SIDE);
  });
  return canvas.toDataURL("image/png");
}

// state(): the query of now; known(): what was measured; say(error).
export function sharing({ state, known, own, say }) {
  const words = async () => {
    try {
      return await compute("words", state());
    } catch (error) {
      say(error.message);
      return null;
    }
  };
  by("link").addEventListener("click", () => copy(location.href, by("link")));
  for (const name of ["command", "python"]) {
    by(name).addEventListener("click", async () => {
      const said = await words();
      if (said) await copy(said[name], by(name));
    });
  }
  by("save").addEventListener("click", async () => {
    const said = await words();
    if (!said) return;
    const { figures, back, near } = known();
    const pictures = Object.fromEntries(STRIP.map((name) => [name, by(name).src]));
    const told = { ...said, figures, back: back?.error, called: near?.called, pictures };
    save("lab.png", strip());
    save("lab.json", URL.createObjectURL(new Blob([JSON.stringify(told, null, 1)], { type: "application/json" })));
    const { image, reference } = own();
    if (image) save("picture.png", image);
    if (reference) save("reference.png", reference);
  });
}
