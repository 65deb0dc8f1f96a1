// The drill-down of a task: its methods, their records, and the command that repeats each. Read when first opened.
let records = null;
let byPlace = null;
const NAMES = ["method", "task", "fold", "replicate", "scoreNames", "scores", "costNames", "costs", "parameters", "versions", "hardware", "commit", "marks", "command", "key"];
const SHARED = ["fold", "scoreNames", "costNames", "parameters", "versions", "hardware", "commit", "marks"];

function record(at) {
  const found = Object.fromEntries(NAMES.map((name, place) => [name, records.rows[at][place]]));
  for (const name of SHARED) found[name] = records.shared[found[name]];
  return found;
}

function recordsOf(task, m) {
  if (!records) {
    records = read("data-records");
    byPlace = new Map();
    records.rows.forEach((row, at) => {
      const key = `${row[0]}/${row[1]}`;
      if (!byPlace.has(key)) byPlace.set(key, []);
      byPlace.get(key).push(at);
    });
  }
  return byPlace.get(`${m}/${tasks.indexOf(task)}`) || [];
}

function openTask(task, m) {
  const column = columns.find((one) => one.task === task);
  const metric = task.metrics[shownMetric(task)];
  $("drilled").textContent = task.title;
  $("copied").textContent = "";
  const select = el("select", {});
  const list = el("div", {});
  const shown = order().filter((one) => recordsOf(task, one).length || faceOf(column, one) !== missing);
  options(select, [["-1", "all methods"], ...shown.map((one) => [String(one), methods[one].title])]);
  select.value = shown.includes(m) ? String(m) : "-1";
  const draw = () => {
    const only = Number(select.value);
    const seen = only < 0 ? shown : [only];
    list.replaceChildren(...seen.map((one) => methodRecords(task, column, one, only >= 0)));
    if (!seen.length) list.append(el("p", {}, "No records."));
  };
  select.addEventListener("change", draw);
  draw();
  const facts = `${task.name}, family ${task.family}; ${metric ? metric.title : state.metric}; selection: ${rules[place(rules, state.rule)].title}.`;
  $("drill-body").replaceChildren(el("p", { class: "facts" }, facts), el("label", {}, "Method ", select), list);
  $("drill").showModal();
}

// One method on a task, filled when it is opened.
function methodRecords(task, column, m, open) {
  const face = faceOf(column, m);
  const found = recordsOf(task, m);
  const words = el("span", { class: "sum" }, face.t, face.d ? ` · ${face.d}` : "", face.s ? ` · ${face.s} ${face.s === 1 ? "seed" : "seeds"}` : "", ` · ${found.length} ${found.length === 1 ? "record" : "records"}`);
  const part = el("details", { class: "one" }, el("summary", {}, el("bdi", {}, methods[m].title), " ", words));
  whenOpened(part, () => {
    if (face.n) part.append(el("p", {}, `Note: ${face.n}`));
    const counted = new Set(face.k || []);
    part.append(...found.map((at, nth) => recordPart(task, record(at), counted.size === 0 || counted.has(at), open && nth === 0)));
    if (!found.length) part.append(el("p", {}, "This cell has no records on this board."));
  });
  part.open = open;
  return part;
}

function whenOpened(part, build) {
  part.addEventListener("toggle", () => {
    if (part.open && !part.dataset.built) {
      part.dataset.built = "1";
      build();
    }
  });
}

function recordPart(task, one, counted, open) {
  const unit = (name) => (task.metrics.find((metric) => metric.name === name) || { unit: "" }).unit;
  const fold = one.fold === null ? "" : `, fold ${one.fold}`;
  const scores = one.scoreNames.map((name, at) => `${name} ${valueText(one.scores[at], unit(name))}`).join(", ");
  const line = el("summary", {}, `replicate ${one.replicate}${fold}: ${scores || "no score"} `, ...one.marks.map(markLabel));
  if (!counted) line.append(el("small", { class: "mark" }, "not in the mean shown"));
  const part = el("details", { class: "record" }, line);
  whenOpened(part, () => {
    const items = [
      ["Command", command(one.command)],
      ["Key", el("code", {}, one.key)],
      ["Scores", pairs(one.scoreNames.map((name, at) => [name, one.scores[at] === null ? "missing" : figures(one.scores[at])]))],
      ["Cost", pairs(one.costNames.map((name, at) => [costTitle(name), costText(name, one.costs[at])]))],
      ["Parameters", pairs(Object.entries(one.parameters))],
      ["Versions", pairs(Object.entries(one.versions))],
      ["Hardware", String(one.hardware || "not stated")],
      ["Commit", el("code", {}, one.commit === null ? "not stated" : String(one.commit))],
    ];
    part.append(el("dl", {}, ...items.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
  });
  part.open = open;
  return part;
}

function pairs(entries) {
  if (!entries.length) return "none";
  const written = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return el("table", { class: "pairs" }, ...entries.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, written(value)))));
}

function command(words) {
  if (!words) return "not stated";
  const code = el("code", {}, words);
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    $("copied").textContent = (await copied(words, code)) ? "Command copied." : "Copying is not allowed here: the command is selected.";
  });
  return el("div", { class: "command" }, code, button);
}

// The clipboard where the browser allows it, else the selection.
async function copied(words, node) {
  try {
    await navigator.clipboard.writeText(words);
    return true;
  } catch {
    getSelection().selectAllChildren(node);
    return document.execCommand("copy");
  }
}
