"use strict";

const AT_ONCE = 2, SHOWN = 5, TRIES = 20;
const find = (selector, inside = document) => inside.querySelector(selector);
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const headers = token ? { Authorization: `Bearer ${token}` } : {};
let model = null, running = 0;
const waiting = [];

/* Control characters and marks of direction in a name, which could make it look like another one. */
const visible = (text) =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

/* As the command line writes it: what is not exactly 0 or 1 is never shown as if it were. */
function percent(share) {
  if (share >= 0.9995 && share < 1) return ">99.9%";
  return share > 0 && share < 0.0005 ? "<0.1%" : `${(100 * share).toFixed(1)}%`;
}

function complain(text) {
  find("#problem").textContent = text;
  find("#problem").hidden = !text;
}

function tell(text) {
  find("#told").textContent = text;
}

async function start() {
  try {
    const response = await fetch("/api/model", { headers });
    const body = await response.json();
    if (!response.ok) return complain(body.error);
    model = body;
    const several = model.arch.length > 1 ? `${model.arch.length} models` : model.arch[0];
    find("#model").textContent = `${several}, ${model.classes.length} classes`
      + (model.calibrated ? "" : ", probabilities not calibrated");
    next();
  } catch {
    complain("The server does not respond: is skinlesion serve still running?");
  }
}

function add(files) {
  if (!files.length) return complain("There was no photograph in it. Choose, drop or paste an image file.");
  complain("");
  for (const file of files) {
    const item = find("#answer").content.cloneNode(true).firstElementChild;
    const one = { file, item, name: visible(file.name || "photograph"), stop: new AbortController() };
    find("bdi", item).textContent = one.name;
    find("article", item).setAttribute("aria-label", one.name);
    find("input", item).setAttribute("aria-label", `Opacity of the heat map of ${one.name}`);
    find(".remove", item).setAttribute("aria-label", `Remove ${one.name}`);
    find(".remove", item).addEventListener("click", () => remove(one));
    item.stopNow = () => one.stop.abort();
    find("#list").append(item);
    waiting.push(one);
  }
  find("#found").hidden = false;
  next();
}

function remove(one) {
  const beside = one.item.nextElementSibling ?? one.item.previousElementSibling;
  one.stop.abort();
  one.item.remove();
  find("#found").hidden = !beside;
  find(beside ? ".remove" : "#choose", beside ?? document).focus();
}

function clear() {
  for (const item of find("#list").children) item.stopNow();
  find("#list").replaceChildren();
  find("#found").hidden = true;
  find("#choose").focus();
}

function next() {
  while (model && running < AT_ONCE && waiting.length) {
    const one = waiting.shift();
    if (one.stop.signal.aborted) continue;
    running += 1;
    ask(one).finally(() => { running -= 1; next(); });
  }
}

async function ask(one) {
  const state = find(".state", one.item);
  state.textContent = "Predicting";
  try {
    const answer = await answerTo(one, state);
    show(one, answer);
    tell(`${one.name}: ${answer.class}, ${percent(answer.confidence)}`
      + (answer.out_of_distribution ? ", unlike the training images" : "") + (answer.uncertain ? ", uncertain" : ""));
  } catch (error) {
    if (one.stop.signal.aborted) return;
    const text = error instanceof TypeError ? "The server does not respond: is skinlesion serve still running?" : error.message;
    state.textContent = visible(text);
    state.className = "state problem";
    tell(`${one.name}: ${visible(text)}`);
  }
}

async function answerTo(one, state) {
  if (one.file.size > model.max_bytes) {
    throw new Error(`cannot read ${one.name}: it is larger than ${model.max_bytes / 2 ** 20} MiB`);
  }
  const query = new URLSearchParams({ name: one.file.name || "photograph", include: "photograph,frame,heat_map" });
  const type = one.file.type.startsWith("image/") ? one.file.type : "application/octet-stream";
  for (let trial = 1; ; trial += 1) {
    const response = await fetch(`/api/predict?${query}`, {
      method: "POST", body: one.file, headers: { ...headers, "Content-Type": type }, signal: one.stop.signal,
    });
    const body = await response.json();
    if (response.ok) return body;
    const seconds = Number(response.headers.get("Retry-After"));
    if (!seconds || trial === TRIES) throw new Error(body.error);
    state.textContent = "The server is busy: waiting";
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    one.stop.signal.throwIfAborted();
  }
}

function show(one, answer) {
  const item = one.item, set = (image, png, alt) => { image.src = `data:image/png;base64,${png}`; image.alt = alt; };
  find(".state", item).hidden = true;
  find(".class", item).textContent = answer.class;
  find(".confidence", item).textContent = percent(answer.confidence);
  find(".foreign", item).hidden = !answer.out_of_distribution;
  find(".uncertain", item).hidden = !answer.uncertain;
  find(".uncertain", item).textContent = `Uncertain: below ${percent(model.min_confidence)}.`;
  set(find(".frame", item), answer.frame.png, `What the model saw of ${one.name}`);
  set(find(".whole", item), answer.photograph.png, `${one.name}, with a frame around what the model saw`);
  showHeat(item, answer.heat_map);
  fill(item, answer);
  find(".result", item).hidden = false;
}

function showHeat(item, map) {
  const heat = find(".heat", item), slider = find("input", item), without = find(".without", item);
  if (map.error || map.empty) {
    heat.remove();
    without.textContent = map.error ? `No heat map: ${map.error}` : `No positive evidence for ${map.class}: the heat map is empty.`;
    without.hidden = false;
    return;
  }
  heat.src = `data:image/png;base64,${map.png}`;
  heat.alt = `Heat map of the evidence for ${map.class}`;
  find(".under", item).hidden = false;
  find(".slider", item).hidden = false;
  const apply = () => {
    heat.style.opacity = slider.value / 100;
    slider.setAttribute("aria-valuetext", `${slider.value}% opaque`);
  };
  slider.addEventListener("input", apply);
  apply();
}

function fill(item, answer) {
  const best = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  const rows = best.map(([name, share], index) => {
    const row = document.createElement("tr"), head = document.createElement("th"), bar = document.createElement("div");
    head.scope = "row";
    head.textContent = name;
    bar.className = "bar";
    bar.style.width = `${100 * share}%`;
    head.append(bar);
    const cell = document.createElement("td");
    cell.textContent = percent(share);
    row.append(head, cell);
    row.hidden = index >= SHOWN;
    return row;
  });
  find("tbody", item).append(...rows);
  const more = find(".more", item);
  more.hidden = rows.length <= SHOWN;
  more.textContent = `Show all ${rows.length} classes`;
  more.addEventListener("click", () => {
    const open = more.getAttribute("aria-expanded") !== "true";
    more.setAttribute("aria-expanded", open);
    more.textContent = open ? `Show the first ${SHOWN}` : `Show all ${rows.length} classes`;
    rows.slice(SHOWN).forEach((row) => { row.hidden = !open; });
  });
}

for (const input of [find("#choose"), find("#take")]) {
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = "";
  });
}
find("#clear").addEventListener("click", clear);
document.addEventListener("paste", (event) => add([...event.clipboardData.files]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  find("#drop").classList.add("over");
});
document.addEventListener("dragleave", () => find("#drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("#drop").classList.remove("over");
  add([...event.dataTransfer.files]);
});
start();
