// The page's state and controls. `state` says everything; `show` draws it.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SHARE_UNITS = 1000;
const byId = name => document.getElementById(name);
const state = { clip: 0, view: 0, edit: 0, frame: 0, followed: null, playing: false, boxes: true, ids: true, paths: true, truth: false, baselines: {}, plain: true };
const WHAT_IF = "what-if";
let timer = null;

function clip() { return DATA.clips[state.clip]; }

function edit() { return clip().edits[state.edit]; }

/** Views of the clip: recorded ones, and the edited roll-out where there are any. */
function views(of = clip()) {
  const rollout = of.views.find(view => view.key === "rollout");
  return of.edits.length && rollout ? [...of.views, { ...rollout, key: WHAT_IF, title: "What if …" }] : of.views;
}

function isEdited() { return view().key === WHAT_IF; }

/** The view shown: of an edited roll-out, its tracks, and its frames once it has any. */
function view() {
  const chosen = views()[state.view];
  return chosen.key === WHAT_IF ? { ...chosen, tracks: edit().tracks } : chosen;
}

function sheetAt(t) {
  return isEdited() && t >= edit().sheet.first ? edit().sheet : view().sheet;
}

function isUnseen(t) { return view().unseen !== null && t >= view().unseen; }

function tracks() { return view().tracks || []; }

function followed() { return tracks().find(track => track.id === state.followed); }

/** Numbers of objects that count as there in frame `t`. */
function countAt(list, t) { return list.filter(track => isShown(track, t)).length; }

function number(value, digits = 2) { return value === null || value === undefined ? "–" : (value / SHARE_UNITS).toFixed(digits); }

// ---------------------------------------------------------------------------------------------------------- pictures

/** Load a sheet's picture once. */
function load(sheet) {
  sheet.loading ??= new Promise(resolve => {
    const image = new Image();
    image.onload = () => { sheet.image = image; resolve(); };
    image.onerror = () => resolve();
    image.src = sheet.source;
  });
  return sheet.loading;
}

async function loadClip() {
  const now = clip();
  await Promise.all([now.input, ...now.views.map(view => view.sheet), ...now.edits.map(one => one.sheet)].map(load));
  if (now === clip()) show();
}

function styleOf(track, t) {
  const chosen = track.id === state.followed, shown = isShown(track, t);
  return {
    colour: track.colour,
    width: chosen ? 3.5 : 2,
    dash: !shown ? [1.5, 4] : track.fresh[t - track.first] ? [6, 4] : [],
    alpha: state.followed !== null && !chosen && followed() ? .5 : 1,
  };
}

/** Everything that lies over a frame. */
function overlay(panel, t, { onInput }) {
  const size = clip().size;
  if (state.truth && clip().truth) {
    for (const track of clip().truth) drawOne(panel, track, t, { colour: TRUTH_COLOUR, width: 1, halo: true });
  }
  if (onInput) {
    clip().baselines.forEach((baseline, i) => {
      if (!state.baselines[i]) return;
      for (const track of baseline.tracks) {
        drawOne(panel, track, t, { colour: BASELINE_COLOUR, width: 2, dash: [2, 3], halo: true }, `c${track.id}`);
      }
    });
  }
  if (isEdited() && state.plain && isUnseen(t)) {
    const plain = clip().views.find(one => one.key === "rollout").tracks || [];
    for (const track of plain) drawOne(panel, track, t, { colour: track.colour, width: 2, dash: [2, 3], halo: true });
  }
  if (state.paths) for (const track of tracks()) panel.path(track, t, size, { ...styleOf(track, t), width: track.id === state.followed ? 3 : 1.5 });
  for (const track of tracks()) {
    const box = boxAt(track, t, size), style = styleOf(track, t);
    if (!box) continue;
    if (state.boxes) panel.box(box, style);
    if (state.ids && isShown(track, t)) panel.tag(box, String(track.id), track.colour);
  }
}

function drawOne(panel, track, t, style, text) {
  const box = isShown(track, t) && boxAt(track, t, clip().size);
  if (!box) return;
  panel.box(box, style);
  if (text && state.ids) panel.tag(box, text, style.colour, true);
}

function drawPanels() {
  const t = state.frame, [high, wide] = clip().size, region = { top: 0, left: 0, height: high, width: wide };
  for (const name of ["input", "reconstruction"]) {
    const panel = new Panel(byId(name), region), onInput = name === "input";
    panel.frame(onInput ? clip().input : sheetAt(t), t, clip().size);
    if (isUnseen(t)) panel.unseen(onInput);
    overlay(panel, t, { onInput });
    byId(name).setAttribute("aria-label", `${onInput ? "Input" : "Reconstruction"}, ${statusText()}`);
  }
  for (const name of ["reconstruction-caption", "zoom-caption"]) {
    byId(name).textContent = isUnseen(t) ? "Prediction" : "Reconstruction";
  }
}

/** Last known box of a track up to frame `t`, or its first one. */
function lastBox(track, t) {
  for (let i = Math.min(t, track.first + track.boxes.length - 1); i >= track.first; i--) {
    const box = boxAt(track, i, clip().size);
    if (box) return box;
  }
  for (let i = track.first; i < track.first + track.boxes.length; i++) {
    const box = boxAt(track, i, clip().size);
    if (box) return box;
  }
  return null;
}

function drawFollowed() {
  const track = followed(), t = state.frame, size = clip().size;
  const title = byId("follow-title"), box = track && lastBox(track, t);
  byId("zooms").hidden = !box;
  document.querySelector(".appearance").hidden = !box;
  if (!track) {
    title.textContent = state.followed === null ? "No object followed" : `Object ${state.followed} is not in this view`;
    byId("follow-hint").textContent = "A close-up stays on the object that you choose, with its appearance frame by frame.";
    return;
  }
  title.replaceChildren(swatch(track.colour), `Object ${track.id}`);
  const i = t - track.first, there = isShown(track, t);
  const facts = [`frames ${track.first} to ${track.first + track.shown.lastIndexOf(1)}`];
  if (there) facts.push(`presence ${number(track.pres[i])}`, ...(track.depth ? [`depth ${number(track.depth[i])}`] : []));
  else facts.push(t < track.first ? "not found yet" : "not there now");
  byId("follow-hint").textContent = facts.join(" · ");
  if (!box) return;
  const largest = Math.max(...track.boxes.filter(Boolean).map(one => Math.max(one[2] / BOX_UNITS * size[0], one[3] / BOX_UNITS * size[1])));
  const side = Math.min(Math.max(largest, 4) * 1.9, Math.max(...size));
  const region = { top: box.y - side / 2, left: box.x - side / 2, height: side, width: side };
  for (const [name, sheet] of [["zoom-input", clip().input], ["zoom-reconstruction", sheetAt(t)]]) {
    const panel = new Panel(byId(name), region);
    panel.frame(sheet, t, size);
    if (isUnseen(t)) panel.unseen(false);
    overlay(panel, t, { onInput: name === "zoom-input" });
    byId(name).setAttribute("aria-label", `Close-up of object ${track.id} in frame ${t}`);
  }
  drawAppearance(track);
}

function drawCharts() {
  const frames = clip().frames, options = { frames, now: state.frame, unseen: view().unseen, go: goTo, level: null };
  const lines = field => tracks().filter(track => track[field]).map(track => ({
    values: track[field].map(value => value === null ? null : value / SHARE_UNITS), first: track.first, colour: track.colour,
    width: track.id === state.followed ? 3.5 : 1.8, alpha: followed() && track.id !== state.followed ? .4 : 1,
  })).sort((a, b) => a.width - b.width);
  drawChart(byId("presence"), lines("pres"), { ...options, top: 1, level: DATA.threshold });
  byId("depth-figure").hidden = !tracks().some(track => track.depth);
  drawChart(byId("depth"), lines("depth"), { ...options, top: 1 });
  const all = Array.from({ length: frames }, (_, t) => t);
  const series = [{ name: "model", list: tracks(), colour: "#6cc3ff", width: 3 }];
  if (clip().truth) series.push({ name: "annotated", list: clip().truth, colour: "#ffffff", width: 1.5, dash: "6 4" });
  clip().baselines.forEach((baseline, i) => series.push({ name: baseline.name, list: baseline.tracks, colour: BASELINE_COLOUR, width: 1.5, dash: "2 4" }));
  const counts = series.map(one => ({ ...one, first: 0, values: all.map(t => countAt(one.list, t)) }));
  drawChart(byId("numbers"), counts, { ...options, top: Math.max(2, ...counts.flatMap(one => one.values)) });
  const words = { "6 4": "dashed", "2 4": "dotted" };
  byId("numbers-key").textContent = `(${series.map(one => `${one.name} ${words[one.dash] || "solid"}`).join(", ")})`;
  for (const name of ["presence", "depth", "numbers"]) byId(name).setAttribute("aria-label", `${name} against frame; ${statusText()}`);
}

// ---------------------------------------------------------------------------------------------------------- controls

function swatch(colour) {
  const element = document.createElement("span");
  element.className = "swatch";
  element.style.background = colour;
  return element;
}

function statusText() {
  const t = state.frame, list = view().tracks;
  const parts = [`frame ${t} (of 0 to ${clip().frames - 1})`];
  if (list) parts.push(`${countAt(list, t)} object${countAt(list, t) === 1 ? "" : "s"}`);
  if (clip().truth) parts.push(`${countAt(clip().truth, t)} annotated`);
  clip().baselines.forEach(baseline => parts.push(`${countAt(baseline.tracks, t)} by ${baseline.name}`));
  return parts.join(" · ") + (isUnseen(t) ? " · not looked at, predicted" : "");
}

function drawStatus() {
  const status = byId("status"), [text, unseen] = statusText().split(" · not looked");
  status.setAttribute("aria-live", state.playing ? "off" : "polite");
  status.replaceChildren(text[0].toUpperCase() + text.slice(1));
  if (unseen) {
    const bold = document.createElement("b");
    bold.textContent = " · not looked" + unseen;
    status.append(bold);
  }
  byId("time").value = state.frame;
  byId("time").setAttribute("aria-valuetext", statusText());
  byId("play").textContent = state.playing ? "Pause" : "Play";
}

const EXPLANATIONS = {
  posterior: () => "Posterior: the model looks at every frame and updates each object from what it sees.",
  rollout: first => first === null ? "Prior roll-out: after the first frames the model predicts where its objects go, without looking." : `Prior roll-out: the model looks at frames 0 to ${first - 1}; from frame ${first} on it predicts where its objects go, without looking.`,
  [WHAT_IF]: first => `${editSentence(edit())} just before frame ${first}; from there on the learned prior predicts without looking, with the same random numbers as the plain roll-out.`,
};

function editSentence(one) {
  if (one.kind === "removed") return `What if object ${one.object} were not there? It is removed`;
  const [y, x] = one.shift, share = Math.round(100 * Math.max(Math.abs(y), Math.abs(x)));
  return `What if object ${one.object} were elsewhere? It is moved ${directionOf(one)} by ${share} % of the frame`;
}

function directionOf(one) {
  const [y, x] = one.shift;
  return Math.abs(y) > Math.abs(x) ? (y < 0 ? "up" : "down") : x < 0 ? "left" : "right";
}

/** Draw everything again. */
function show() {
  drawStatus();
  drawPanels();
  updateList();
  drawFollowed();
  drawCharts();
}

/** Buttons of a group of which one is chosen; `items` are {label, colour}. */
function fillSegments(group, items, chosen, choose) {
  group.replaceChildren(...items.map((item, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(i === chosen));
    button.addEventListener("click", () => choose(i));
    button.append(...(item.colour ? [swatch(item.colour)] : []), item.label);
    return button;
  }));
}

function fillToggles() {
  const entries = [["Boxes", state, "boxes"], ["Ids", state, "ids"], ["Tracks", state, "paths"]];
  if (clip().truth) entries.push(["Ground truth", state, "truth"]);
  clip().baselines.forEach((baseline, i) => entries.push([baseline.name[0].toUpperCase() + baseline.name.slice(1), state.baselines, i]));
  if (isEdited()) entries.push(["Roll-out without the edit", state, "plain"]);
  byId("toggles").replaceChildren(...entries.map(([text, target, key]) => {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "checkbox", checked: Boolean(target[key]) });
    input.addEventListener("change", () => { target[key] = input.checked; fillKey(); show(); });
    label.append(input, text);
    return label;
  }));
}

/** What the kinds of lines in the frames mean, as far as they are shown. */
function fillKey() {
  const entries = [[[], "#40c4ff", 2, "followed from the frame before"], [[6, 4], "#40c4ff", 2, "new in this frame"]];
  if (tracks().some(track => track.shown.includes(0))) entries.push([[1.5, 4], "#40c4ff", 2, "presence too low to count"]);
  if (state.truth && clip().truth) entries.push([[], TRUTH_COLOUR, 1, "ground truth, never seen by the model"]);
  clip().baselines.forEach((baseline, i) => { if (state.baselines[i]) entries.push([[2, 3], BASELINE_COLOUR, 2, `${baseline.name} (ids c…)`]); });
  if (isEdited() && state.plain) entries.push([[2, 3], "#40c4ff", 2, "roll-out without the edit"]);
  if (view().unseen !== null) entries.push([[], UNSEEN_COLOUR, 4, "amber edge: the model does not look", true]);
  byId("key").replaceChildren(...entries.map(([dash, colour, width, text, edge]) => {
    const item = document.createElement("li"), canvas = document.createElement("canvas");
    item.append(canvas, text);
    canvas.setAttribute("aria-hidden", "true");
    requestAnimationFrame(() => new Panel(canvas, { top: 0, left: 0, height: 20, width: 30 }).box(
      edge ? { y: 10, x: 15, h: 18, w: 28 } : { y: 10, x: 15, h: 12, w: 20 }, { dash, colour, width }));
    return item;
  }));
}

function fillList() {
  byId("objects").replaceChildren(...tracks().map(track => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.dataset.id = track.id;
    button.innerHTML = '<span class="swatch"></span><canvas class="cuts" aria-hidden="true"></canvas><span><span class="name"></span><span class="facts"></span></span>';
    button.querySelector(".swatch").style.background = track.colour;
    button.querySelector(".name").textContent = `Object ${track.id}`;
    button.addEventListener("click", () => follow(state.followed === track.id ? null : track.id));
    item.append(button);
    return item;
  }));
  if (!tracks().length) {
    const item = document.createElement("li");
    item.className = "hint";
    item.textContent = view().tracks ? "The model finds no object in this clip." : "This model gives no boxes.";
    byId("objects").append(item);
  }
}

function updateList() {
  const t = state.frame;
  byId("count").textContent = `${countAt(tracks(), t)} in this frame, ${tracks().length} in all`;
  for (const button of byId("objects").querySelectorAll("button")) {
    const track = tracks().find(one => one.id === Number(button.dataset.id)), i = t - track.first, there = isShown(track, t);
    button.setAttribute("aria-pressed", String(track.id === state.followed));
    button.classList.toggle("away", !there);
    const facts = there ? [`presence ${number(track.pres[i])}`, ...(track.depth ? [`depth ${number(track.depth[i])}`] : [])] : [t < track.first ? "not found yet" : "not there now"];
    button.querySelector(".facts").textContent = facts.join(" · ");
    const canvas = button.querySelector("canvas"), panel = new Panel(canvas, { top: 0, left: 0, height: 1, width: 1 });
    const box = lastBox(track, t), half = canvas.width / 2, side = Math.min(half - 2, canvas.height), when = Math.max(track.first, Math.min(t, track.first + track.boxes.length - 1));
    drawCuts(panel, [clip().input, sheetAt(when)].map((sheet, n) => ({ sheet, t: when, box, target: { left: n * (half + 1), top: 0, width: side, height: side } })), clip().size);
  }
}

function fillEdits() {
  const edits = clip().edits;
  byId("edits").hidden = !isEdited();
  if (!isEdited()) return;
  const objects = [...new Set(edits.map(one => one.object))], chosen = edit().object;
  fillSegments(byId("edit-objects"), objects.map(id => ({ label: `Object ${id}`, colour: edits.find(one => one.object === id).tracks.find(track => track.id === id)?.colour || "#888" })), objects.indexOf(chosen), i => {
    const like = edits.findIndex(one => one.object === objects[i] && kindOf(one) === kindOf(edit()));
    state.edit = like >= 0 ? like : edits.findIndex(one => one.object === objects[i]);
    setView();
  });
  const kinds = edits.map((one, i) => [one, i]).filter(([one]) => one.object === chosen);
  const symbols = { removed: "Removed", up: "↑ Up", down: "↓ Down", left: "← Left", right: "→ Right" };
  fillSegments(byId("edit-kinds"), kinds.map(([one]) => ({ label: symbols[kindOf(one)] })), kinds.findIndex(([, i]) => i === state.edit), i => {
    state.edit = kinds[i][1];
    setView();
  });
}

function kindOf(one) { return one.kind === "removed" ? "removed" : directionOf(one); }

/** After another view, edit or clip was chosen; the focus stays on the same choice although the choices are new. */
function setView() {
  const focused = document.activeElement?.closest(".segments");
  const shown = views()[state.view];
  fillSegments(byId("views"), views().map(one => ({ label: one.title })), state.view, i => { state.view = i; setView(); });
  fillEdits();
  fillToggles();
  fillKey();
  fillList();
  byId("explain").textContent = EXPLANATIONS[shown.key](shown.unseen);
  const span = document.createElement("i"), frames = clip().frames;
  span.style.width = shown.unseen === null ? "0" : `${100 * Math.max(0, frames - shown.unseen) / frames}%`;
  byId("spans").replaceChildren(span);
  focused?.querySelector("[aria-pressed=true]")?.focus();
  show();
}

function setClip(index) {
  const key = views()[state.view]?.key;
  state.clip = index;
  state.edit = 0;
  state.followed = null;
  state.view = Math.max(0, views().findIndex(one => one.key === key));
  state.frame = Math.min(state.frame, clip().frames - 1);
  byId("clip").value = String(index);
  byId("time").max = clip().frames - 1;
  document.documentElement.style.setProperty("--ratio", clip().size[1] / clip().size[0]);
  setView();
  loadClip();
}

function goTo(frame) {
  state.frame = Math.min(clip().frames - 1, Math.max(0, frame));
  show();
}

function stepBy(frames) { pause(); goTo(state.frame + frames); }

function follow(id) { state.followed = id; show(); }

function play() {
  state.playing = true;
  if (state.frame === clip().frames - 1) state.frame = 0;
  clearInterval(timer);
  timer = setInterval(() => goTo((state.frame + 1) % clip().frames), 1000 / (DATA.framesPerSecond * Number(byId("speed").value)));
  show();
}

function pause() {
  state.playing = false;
  clearInterval(timer);
  drawStatus();
}

/** The smallest box under the mouse. */
function pick(event) {
  const bounds = event.currentTarget.getBoundingClientRect(), [high, wide] = clip().size;
  const x = (event.clientX - bounds.left) / bounds.width * wide, y = (event.clientY - bounds.top) / bounds.height * high;
  const hits = tracks().map(track => [track, isShown(track, state.frame) && boxAt(track, state.frame, clip().size)])
    .filter(([, box]) => box && Math.abs(x - box.x) <= box.w / 2 && Math.abs(y - box.y) <= box.h / 2)
    .sort(([, a], [, b]) => a.h * a.w - b.h * b.w);
  follow(hits.length ? hits[0][0].id : null);
}

const KEYS = {
  ArrowLeft: () => stepBy(-1), ArrowRight: () => stepBy(1),
  Home: () => stepBy(-clip().frames), End: () => stepBy(clip().frames),
  " ": () => state.playing ? pause() : play(),
  Escape: () => follow(null),
  v: () => { state.view = (state.view + 1) % views().length; setView(); },
  c: () => setClip((state.clip + 1) % DATA.clips.length),
};

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select")) return;
  const control = event.target.closest("input, button, a, summary"), key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === " " && control && control.id !== "time") return; // the control's own key
  if (/^[0-9]$/.test(key)) {
    if (tracks().some(track => track.id === Number(key))) follow(Number(key));
  } else if (KEYS[key]) {
    KEYS[key]();
  } else {
    return;
  }
  event.preventDefault();
}

function start() {
  byId("clip").addEventListener("change", event => setClip(Number(event.target.value)));
  byId("time").addEventListener("input", event => { pause(); goTo(Number(event.target.value)); });
  byId("play").addEventListener("click", KEYS[" "]);
  byId("first").addEventListener("click", KEYS.Home);
  byId("last").addEventListener("click", KEYS.End);
  byId("back").addEventListener("click", KEYS.ArrowLeft);
  byId("forward").addEventListener("click", KEYS.ArrowRight);
  byId("speed").addEventListener("change", () => { if (state.playing) play(); });
  for (const name of ["input", "reconstruction"]) byId(name).addEventListener("click", pick);
  byId("appearance").addEventListener("click", event => {
    const t = appearanceFrameAt(event.offsetX);
    if (t !== undefined) { pause(); goTo(t); }
  });
  document.addEventListener("keydown", onKey);
  // After a click with the mouse, the space bar plays; with the keyboard, the focus stays where it is.
  document.addEventListener("click", event => { if (event.detail) event.target.closest("button, label")?.blur(); });
  new ResizeObserver(() => show()).observe(document.querySelector(".stage"));
  // The first clip in which something is found: an empty scene would look like a broken page.
  setClip(Math.max(0, DATA.clips.findIndex(one => (one.views[0].tracks || []).length)));
}

start();
