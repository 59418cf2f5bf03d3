// Sliders between two images: how much of the left one is seen, of one pair or of all.
"use strict";
const show = (slider) => slider.parentElement.style.setProperty("--at", slider.value + "%");
document.addEventListener("input", ({ target }) => {
  if (target.matches(".split input")) {
    show(target);
  } else if (target.matches("input[data-all]")) {
    for (const slider of target.closest(".pairs").querySelectorAll(".split input")) {
      slider.value = target.value;
      show(slider);
    }
  }
});
// A browser that goes back to the page remembers the sliders' values, and not what they did.
for (const slider of document.querySelectorAll(".split input")) show(slider);
