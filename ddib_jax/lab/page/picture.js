// Which picture is translated: one at hand, one that is opened or dropped, one that is drawn.

import { by, make } from "./dom.js";
import { drawing } from "./draw.js";

export class Pictures {
  // choose(word): an image of a state; give(blob, name): a file to be read.
  constructor(facts, choose, give) {
    this.own = new Map();
    this.choose = choose;
    by("images").replaceChildren(
      ...facts.images.map((source, at) => this.thumb(String(at), source, facts.names[at])),
    );
    by("open").addEventListener("click", () => by("file").click());
    by("file").addEventListener("change", () => {
      const [file] = by("file").files;
      if (file) give(file, file.name);
      by("file").value = "";
    });
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) document.body.classList.remove("over");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("over");
      const [file] = event.dataTransfer.files;
      if (file) give(file, file.name);
    });
    drawing(give);
  }

  thumb(word, source, name) {
    const image = make("img", { src: source, alt: "" });
    return make(
      "button",
      { type: "button", value: word, "aria-label": name, title: name, onclick: () => this.choose(word) },
      image,
    );
  }

  // A picture that was given, as the model sees it.
  add(word, source) {
    if (this.own.has(word)) return;
    this.own.set(word, source);
    by("images").append(this.thumb(word, source, `your picture ${this.own.size}`));
  }

  mark(word) {
    for (const button of by("images").children) {
      button.setAttribute("aria-pressed", String(button.value === word));
    }
  }
}
