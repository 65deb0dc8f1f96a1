// Small helpers. Strings only ever become text nodes and attribute values, never markup.
const $ = (id) => document.getElementById(id);
const read = (id) => JSON.parse($(id).textContent);
const data = read("data");
const SVG = "http://www.w3.org/2000/svg";

function made(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const el = (name, attributes = {}, ...children) => made(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => made(document.createElementNS(SVG, name), attributes, children);

const short = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
const figures = (value) => String(Number(value.toPrecision(6)));

// What a cost is called and how it is written.
const COST = {
  trainable_parameters: ["trained parameters", (value) => scaled(value, ["", "k", "M", "G", "T"], 1000)],
  total_parameters: ["all parameters", (value) => scaled(value, ["", "k", "M", "G", "T"], 1000)],
  fit_seconds: ["time to fit", seconds],
  peak_bytes: ["peak memory", (value) => scaled(value, [" B", " kB", " MB", " GB", " TB"], 1000)],
  stored_bytes: ["stored", (value) => scaled(value, [" B", " kB", " MB", " GB", " TB"], 1000)],
};
const costTitle = (name) => (Object.hasOwn(COST, name) ? COST[name][0] : name);
const costText = (name, value) => (value === null ? "missing" : Object.hasOwn(COST, name) ? COST[name][1](value) : figures(value));

function scaled(value, units, step) {
  let place = 0;
  while (Math.abs(value) >= 0.9995 * step && place < units.length - 1) {
    value /= step;
    place += 1;
  }
  return Number(value.toPrecision(3)) + units[place];
}

function seconds(value) {
  const [size, unit] = value >= 3600 ? [3600, "h"] : value >= 60 ? [60, "min"] : value >= 1 || value === 0 ? [1, "s"] : [0.001, "ms"];
  return `${Number((value / size).toPrecision(3))} ${unit}`;
}

// A metric's value as the table writes it: shares in per cent.
const valueText = (value, unit) =>
  value === null ? "missing" : unit === "%" ? Number((100 * value).toFixed(6)).toFixed(1) : String(Number(value.toPrecision(4)));

function options(select, items) {
  select.replaceChildren(...items.map(([value, title]) => el("option", { value }, title)));
}

// A table beside a plot that states every value of it.
function stated(title, head, rows) {
  const line = (cells, name, scope) =>
    el("tr", {}, ...cells.map((cell, place) => (place ? el(name, scope ? { scope } : {}, cell) : el("th", { scope: scope || "row" }, cell))));
  const details = el("details", { class: "stated" }, el("summary", {}, title));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const table = el("table", {}, el("thead", {}, line(head, "th", "col")), el("tbody", {}, ...rows.map((row) => line(row, "td"))));
    details.append(el("div", { class: "region", role: "region", tabindex: "0", "aria-label": title }, table));
  });
  return details;
}
