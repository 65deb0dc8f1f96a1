// The main table: columns, the choices that fill them, sorting and filters. Rows are built once and moved.
const { rules, norms, methods, tasks, heads } = data;
const METRIC = ""; // each task's primary one
const families = [...new Set(tasks.map((task) => task.family))];
const metricNames = [...new Set(tasks.flatMap((task) => task.metrics.map((metric) => metric.name)))];
const FIXED = ["rank", "overall", "average", "elo"].slice(0, heads.length);
const DEFAULTS = { sort: FIXED.length ? "rank" : "", down: "", q: "", family: "", metric: METRIC, rule: rules[0].name, norm: norms[0].name, what: FIXED.length ? "" : `task:${tasks[0].name}`, cost: data.costs[0] };
const state = { ...DEFAULTS };
const missing = { t: "missing" };

const head = $("table").tHead.rows[0];
const body = $("table").tBodies[0];
const rows = [];
for (const row of body.rows) rows[Number(row.dataset.m)] = row;
const searched = methods.map((method) => `${method.title}\n${method.name}`.toLowerCase());
const place = (list, name) => Math.max(0, list.findIndex((one) => one.name === name));

// The metric that a task shows: the chosen one, or its primary one; -1 where it has none of that name.
const shownMetric = (task) =>
  state.metric === METRIC ? task.primary : task.metrics.findIndex((metric) => metric.name === state.metric);

// A column: its id in the address, the face of a method in it, which direction is better, what it was last filled from.
const columns = [
  { id: "method", better: false },
  ...FIXED.map((id, at) => ({
    id,
    better: id === "overall" || id === "elo",
    source: () => `${place(rules, state.rule)}/${place(norms, state.norm)}`,
    face: (source, m) => ((data.overall[source] || [])[m] || [])[at] || missing,
  })),
  ...tasks.map((task, t) => ({
    id: `task:${task.name}`,
    task,
    get better() {
      const metric = task.metrics[shownMetric(task)];
      return !metric || metric.higher;
    },
    source: () => `${place(rules, state.rule)}/${t}/${shownMetric(task)}`,
    face: (source, m) => (data.cells[source] || [])[m] || missing,
  })),
];
const faceOf = (column, m) => column.face(column.source(), m);

// One cell; the same nodes as `cell` in static.py writes.
function fill(cell, face) {
  const parts = [el(face.b ? "strong" : "span", {}, face.t)];
  if (face.x) {
    const [low, mean, high] = face.x;
    const path = svg("path", { d: `M${low} 5H${high}M${mean} 1V9` });
    parts.push(svg("svg", { class: "bar", viewBox: "0 0 64 10", "aria-hidden": "true" }, path));
  }
  const sign = face.v === undefined;
  const detail = sign ? face.n : face.d;
  if (detail) parts.push(el("small", {}, detail));
  for (const name of face.m || []) parts.push(markLabel(name));
  if (face.n && !sign) parts.push(el("small", { class: "mark", title: face.n }, "note"));
  if (sign) cell.className = "sign";
  else cell.removeAttribute("class");
  cell.replaceChildren(...parts);
}
const markLabel = (name) => el("small", { class: data.marks.includes(name) ? `mark ${name}` : "mark" }, name);

// Fills the columns whose source changed, and hides those of other families and of tasks without the metric.
function fillColumns() {
  columns.forEach((column, c) => {
    if (!column.source) return;
    const source = column.source();
    if (source !== column.filled) {
      if (column.filled !== undefined) rows.forEach((row, m) => fill(row.cells[c], column.face(source, m)));
      column.filled = source;
      if (column.task) headMetric(column, c);
    }
    if (!column.task) return;
    const hidden = (state.family !== "" && column.task.family !== state.family) || shownMetric(column.task) < 0;
    if (hidden === Boolean(column.hidden)) return;
    column.hidden = hidden;
    head.cells[c].hidden = hidden;
    for (const row of rows) row.cells[c].hidden = hidden;
  });
  $("ruled").textContent = rules[place(rules, state.rule)].title;
  $("normed").textContent = norms[place(norms, state.norm)].title;
}

function headMetric(column, c) {
  const metric = column.task.metrics[shownMetric(column.task)];
  if (!metric) return;
  const unit = metric.unit ? `, ${metric.unit}` : "";
  head.cells[c].querySelector(".metric").textContent = `${metric.title}${unit}; ${metric.higher ? "higher" : "lower"} is better`;
}

// The order of the methods: by the chosen column, then by rank and overall mean, then as declared; signs stand last.
function order() {
  const column = columns.find((one) => one.id === state.sort) || {}; // {}: as declared
  const ties = columns.filter((one) => one.id === "rank" || one.id === "overall");
  const keys = methods.map((method, m) => ({ m, own: column.face ? faceOf(column, m).v : undefined, ties: ties.map((one) => faceOf(one, m).v) }));
  const compare = (a, b, down) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return down ? b - a : a - b;
  };
  const named = (a, b) => methods[a.m].title.localeCompare(methods[b.m].title, "en") * (state.down ? -1 : 1);
  keys.sort((a, b) => {
    let sign = column.id === "method" ? named(a, b) : compare(a.own, b.own, Boolean(state.down));
    ties.forEach((one, at) => (sign = sign || compare(a.ties[at], b.ties[at], one.better)));
    return sign || a.m - b.m;
  });
  return keys.map((key) => key.m);
}

function sortRows() {
  body.append(...order().map((m) => rows[m]));
  columns.forEach((column, c) => {
    if (column.id === state.sort) head.cells[c].setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else head.cells[c].removeAttribute("aria-sort");
  });
}

// A first click shows the best first; a second one turns the order round.
function sortBy(column) {
  const first = column.better ? "1" : "";
  state.down = state.sort === column.id ? (state.down ? "" : "1") : first;
  state.sort = column.id;
  sortRows();
}

function filterRows() {
  const wanted = state.q.trim().toLowerCase();
  let shown = 0;
  rows.forEach((row, m) => {
    row.hidden = !searched[m].includes(wanted);
    shown += !row.hidden;
  });
  const seen = columns.filter((column) => column.task && !column.hidden).length;
  const said = `${shown} of ${methods.length} methods, ${seen} of ${tasks.length} tasks shown.`;
  if ($("count").textContent !== said) $("count").textContent = said; // announced only where it says something new
}

// Buttons in the header: one sorts, a task's second one opens its records.
function buttons(open) {
  columns.forEach((column, c) => {
    const cell = head.cells[c];
    const words = cell.querySelector(".by");
    const button = el("button", { type: "button", class: "by" }, ...words.childNodes);
    button.addEventListener("click", () => open.sort(column));
    words.replaceWith(button);
    if (!column.task) return;
    const more = el("button", { type: "button", class: "more", "aria-label": `Records of ${column.task.title}` }, "records");
    more.addEventListener("click", () => open.task(column.task, -1));
    cell.append(more);
  });
  body.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    const column = cell && columns[cell.cellIndex];
    if (column && column.task && !String(getSelection())) open.task(column.task, Number(cell.parentNode.dataset.m));
  });
}
