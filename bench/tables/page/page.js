// The page: state in the address, controls, and when what is drawn again.
const CONTROLS = { q: "filter", family: "family", metric: "metric", rule: "rule", norm: "norm", what: "what", cost: "cost" };
const legal = {
  sort: (value) => value === DEFAULTS.sort || columns.some((column) => column.id === value),
  down: (value) => value === "" || value === "1",
  q: (value) => value.length <= 200,
  family: (value) => value === "" || families.includes(value),
  metric: (value) => value === METRIC || metricNames.includes(value),
  rule: (value) => rules.some((rule) => rule.name === value),
  norm: (value) => norms.some((norm) => norm.name === value),
  what: (value) => value === "" || tasks.some((task) => value === `task:${task.name}`),
  cost: (value) => data.costs.includes(value),
};

// What the address does not say, or says wrongly, is as by default.
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = given.get(name);
    state[name] = value !== null && legal[name](value) ? value : usual;
  }
}

function writeAddress() {
  const kept = Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]);
  const hash = `#${new URLSearchParams(kept)}`;
  if (hash === (location.hash || "#")) return;
  try {
    history.replaceState(null, "", hash);
  } catch {
    location.replace(hash); // where a page may not touch its history
  }
}

// A choice of one is no choice: its label is hidden.
function choice(id, items) {
  options($(id), items);
  $(id).closest("label").hidden = items.length < 2;
}

function prepareControls() {
  choice("family", [["", "all families"], ...families.map((name) => [name, name])].slice(families.length < 2 ? 1 : 0));
  choice("metric", [[METRIC, "each task’s primary metric"], ...metricNames.map((name) => [name, name])].slice(0, metricNames.length < 2 ? 1 : undefined));
  choice("rule", rules.map((rule) => [rule.name, rule.title]));
  choice("norm", norms.map((norm) => [norm.name, norm.title]));
  options($("what"), [...(FIXED.length ? [["", "overall score"]] : []), ...tasks.map((task) => [`task:${task.name}`, task.title])]);
  choice("cost", data.costs.map((name) => [name, costTitle(name)]));
  for (const [name, id] of Object.entries(CONTROLS)) {
    $(id).addEventListener("input", () => {
      state[name] = $(id).value;
      update(name);
    });
  }
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("controls").addEventListener("reset", (event) => {
    event.preventDefault();
    Object.assign(state, DEFAULTS);
    showState();
    update("all");
  });
  $("controls").hidden = false;
}

function showState() {
  for (const [name, id] of Object.entries(CONTROLS)) $(id).value = state[name];
}

// One choice changed: only what depends on it is filled, sorted or drawn again.
function update(name) {
  if (name !== "q" && name !== "what" && name !== "cost") {
    fillColumns();
    sortRows();
  }
  filterRows();
  writeAddress();
  if (name !== "q" && name !== "family") later(drawPlots);
}

function drawPlots() {
  $("plots").hidden = false;
  drawPareto();
  if (drawPlots.rule === state.rule && drawPlots.norm === state.norm) return;
  drawCritical();
  drawWins();
  [drawPlots.rule, drawPlots.norm] = [state.rule, state.norm];
}

// After the table is on the screen, and once where several changes come together.
function later(action) {
  clearTimeout(later.timer);
  later.timer = setTimeout(() => requestAnimationFrame(action), 30);
}

function prepareDialog() {
  const drill = $("drill");
  $("close").addEventListener("click", () => drill.close());
  drill.addEventListener("click", (event) => {
    if (event.target === drill) drill.close(); // beside the box
  });
  drill.addEventListener("close", () => $("drill-body").replaceChildren());
}

readAddress();
prepareControls();
prepareDialog();
buttons({
  sort: (column) => {
    sortBy(column);
    writeAddress();
  },
  task: openTask,
});
showState();
// The static table shows the default view already: only other choices fill it again.
columns.forEach((column) => {
  if (column.task) column.filled = `0/${tasks.indexOf(column.task)}/${column.task.primary}`;
  else if (column.source) column.filled = "0/0";
});
update("all");
document.documentElement.classList.add("live");

addEventListener("hashchange", () => {
  readAddress();
  showState();
  update("all");
});
// The address holds the state, so the link for the keyboard moves the focus without it.
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("board").focus();
  $("board").scrollIntoView();
});
let drawn = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawn) return;
  drawn = innerWidth;
  drawPlots.rule = null;
  later(drawPlots);
});
