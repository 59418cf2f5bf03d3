// Short names for what every module does with the page.

export const by = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function choices(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => make("option", { value, text })));
  if (chosen !== undefined) select.value = chosen;
}

export const short = (value) =>
  value === null || value === undefined ? "–" : Number(value.toPrecision(4)).toString();
