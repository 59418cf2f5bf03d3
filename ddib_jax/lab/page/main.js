// The page: a state that is moved, and what is asked for at each of its positions.

import * as ask from "./ask.js";
import { Controls } from "./controls.js";
import { by } from "./dom.js";
import { Pictures } from "./picture.js";
import { sharing } from "./share.js";
import { History, State } from "./state.js";
import * as view from "./view.js";

const page = document.querySelector("main");
const history = new History();
const known = {};
let facts, controls, pictures, film, state, usual;
let place = 0;

const say = (sentence) => {
  by("said").textContent = sentence;
  by("said").hidden = !sentence;
};
// What was reached, which the length of the line stands before while something is waited for.
let settled = "";
const status = (text) => (by("status").textContent = settled = text);

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ask.Said)) throw error;
    say(error.message);
    status("Not computed");
    page.setAttribute("aria-busy", "false");
    return null;
  }
}

const preview = new ask.Latest(async (query) => {
  const mine = ask.moved();
  const found = await attempt(() => ask.compute("preview", query));
  if (found && ask.newest(mine)) {
    known.figures = found.figures;
    view.show(found);
    view.figures({ figures: known.figures });
    view.stale(["back", "row"], true);
    status(`Preview, ${found.steps} steps`);
  }
});

// While a slider is moved.
function moved(at) {
  place = at;
  page.setAttribute("aria-busy", "true");
  preview.ask(state.query());
}

// When a control was left where it is: the whole answer, and all that follows from it.
async function reached(at) {
  if (at !== undefined) place = at;
  place = Math.min(place, Math.max(0, state.perturb.length - 1));
  const query = state.query();
  if (!history.reach(query)) return;
  window.history.replaceState(null, "", `?${query}`);
  await arrived(query);
}

async function arrived(query) {
  preview.forget();
  render();
  say("");
  film.clear();
  const mine = ask.moved();
  page.setAttribute("aria-busy", "true");
  status("Translating …");
  view.stale(["back", "row", "translation", "after"], true);
  const found = await attempt(() => ask.compute("translation", query));
  if (!found || !ask.newest(mine)) return;
  Object.assign(known, { figures: found.figures, back: null, near: null });
  view.show(found);
  view.stale(["translation", "after"], false);
  view.figures(known);
  status(`Translated, ${found.steps} steps`);
  page.dataset.reached = query;
  const word = state.get("image", "0");
  if (word.startsWith("picture-")) pictures.add(word, found.pictures.image);
  pictures.mark(word);
  const rest = [["back", afterBack], ["near", afterNear]];
  if (state.perturb.length) rest.push(["row", afterRow]);
  else by("row").replaceChildren();
  await Promise.all(
    rest.map(async ([kind, after]) => {
      const answer = await attempt(() => ask.compute(kind, query, { place }));
      if (answer && ask.newest(mine)) after(answer);
    }),
  );
  if (ask.newest(mine)) {
    page.setAttribute("aria-busy", "false");
    page.dataset.settled = query;
  }
}

function afterBack(back) {
  known.back = back;
  by("back").src = back.picture;
  view.stale(["back"], false);
  view.figures(known);
}

function afterNear(near) {
  known.near = near;
  view.figures(known);
}

function afterRow(row) {
  const [name, value] = state.perturb[place];
  const slider = controls.sliders.get(name);
  view.seven(row, slider, value, (chosen) => {
    state.perturb[place] = [name, chosen];
    reached(place);
  });
  view.stale(["row"], false);
  by("about-row").textContent = `Previews of ${Math.min(facts.quick, Number(state.get("steps", usual.steps)))} steps; choose one to go there.`;
}

function render() {
  const own = [...pictures.own.keys()].map((word, at) => [word, `your picture ${at + 1}`]);
  controls.show(state, usual, own);
  pictures.mark(state.get("image", "0"));
  by("undo").disabled = !history.past.length;
  by("redo").disabled = !history.future.length;
}

function step(back) {
  const query = history.step(back);
  if (query === null) return;
  state = new State(query);
  window.history.replaceState(null, "", `?${query}`);
  arrived(query);
}

async function given(blob, name) {
  status("Reading the picture …");
  const answer = await attempt(() => ask.give(blob, name));
  if (!answer) return;
  state.set("image", answer.image);
  reached();
}

// How long the line is, while something is waited for.
function waiting(pending) {
  clearTimeout(waiting.timer);
  waiting.pending = pending;
  if (!pending) {
    by("status").classList.remove("busy");
    by("status").textContent = settled;
    return;
  }
  waiting.timer = setTimeout(async () => {
    by("status").classList.add("busy");
    const line = await ask.line().catch(() => null);
    if (!waiting.pending) return;
    const name = { near: "measuring", words: "reading", row: "seven values", back: "way back" };
    const now = name[line?.now] ?? line?.now ?? "";
    if (line?.waiting) by("status").textContent = `${now || "waiting"}; ${line.waiting} in line`;
    else if (now) by("status").textContent = `${now} …`;
    waiting(waiting.pending);
  }, 500);
}

async function open() {
  facts = await attempt(() => ask.facts());
  if (!facts) return;
  usual = facts.usual;
  const names = [facts.source.name, facts.target.name].map((name) => name.split("/").pop());
  by("title").textContent = names[0] === names[1] ? names[0] : `${names[0]} → ${names[1]}`;
  document.title = `${by("title").textContent} · ddib lab`;
  document.body.classList.toggle("pixelated", facts.small);
  film = new view.Film();
  controls = new Controls(facts, { moved, reached });
  const choose = (word) => {
    state.set("image", word);
    reached();
  };
  pictures = new Pictures(facts, choose, given);
  view.wipe();
  ask.watch(waiting);
  sharing({
    state: () => state.query(),
    known: () => known,
    own: () => ({
      image: pictures.own.get(state.get("image")),
      reference: pictures.own.get(state.get("reference")) ?? (by("other").hidden ? undefined : facts.images[Number(state.get("reference", "0"))]),
    }),
    say,
  });
  by("undo").addEventListener("click", () => step(true));
  by("redo").addEventListener("click", () => step(false));
  by("shoot").addEventListener("click", async () => {
    const found = await attempt(() => ask.compute("film", state.query()));
    if (found) film.load(found);
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=range]), textarea");
    if (typing || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    step(!event.shiftKey);
  });
  const asked = location.search.slice(1);
  let wrong = "";
  let query = facts.state;
  if (asked) {
    try {
      query = (await ask.compute("words", asked)).query;
    } catch (error) {
      wrong = error.message;
    }
  }
  state = new State(query);
  place = Math.max(0, state.perturb.findLastIndex(([name, value]) => value !== controls.sliders.get(name)?.neutral));
  await Promise.all([reached(), wrong && say(wrong)]);
}

open();
