// Drawing a picture with a pointer.

import { by } from "./dom.js";

export function drawing(use) {
  const canvas = by("canvas");
  const pen = canvas.getContext("2d");
  let last = null;

  const clear = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  const stroke = (from, to) => {
    pen.strokeStyle = by("ink").value;
    pen.lineWidth = canvas.width / 14;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    const next = place(event);
    stroke(last, next);
    last = next;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (last = null));
  }
  by("draw").addEventListener("click", () => {
    const open = by("drawing").hidden;
    by("drawing").hidden = !open;
    by("draw").setAttribute("aria-expanded", String(open));
  });
  by("clear").addEventListener("click", clear);
  by("use").addEventListener("click", () => {
    canvas.toBlob((blob) => use(blob, "drawing.png"), "image/png");
  });
  clear();
}
