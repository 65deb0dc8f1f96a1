// Plots, drawn at the width they are shown in; each states its values in words and in a table.
const width = (node) => Math.max(280, Math.min(860, node.clientWidth || 720));
const methodName = (m, length) => short(methods[m].name, length);

function picture(size, label, ...children) {
  return svg("svg", { class: "plot", role: "img", "aria-label": label, width: size[0], height: size[1], viewBox: `0 0 ${size[0]} ${size[1]}` }, ...children);
}
const words = (x, y, content, kind = "", anchor = "start") => svg("text", { x, y, class: kind, "text-anchor": anchor }, content);
const line = (d, kind) => svg("path", { d, class: kind });

// Quality against cost: the points of a task, or of the overall score with the median cost over tasks.
function points() {
  const at = data.costs.indexOf(state.cost);
  const column = columns.find((one) => one.id === state.what) || columns.find((one) => one.id === "overall");
  if (!column) return { column: null, found: [] };
  const of = (face) => (face.v !== undefined && face.c && face.c[at] !== null ? face.c[at] : null);
  const median = (m) => {
    const costs = columns.filter((one) => one.task).map((one) => of(faceOf(one, m))).filter((cost) => cost !== null).sort((a, b) => a - b);
    return costs.length ? (costs[(costs.length - 1) >> 1] + costs[costs.length >> 1]) / 2 : null;
  };
  const found = [];
  methods.forEach((method, m) => {
    const face = faceOf(column, m);
    const cost = column.task ? of(face) : median(m);
    if (face.v !== undefined && cost !== null && cost >= 0) found.push({ m, cost, face });
  });
  const better = (a, b) => (column.better ? a.face.v - b.face.v : b.face.v - a.face.v);
  for (const one of found) {
    one.front = !found.some((other) => other.cost <= one.cost && better(other, one) >= 0 && (other.cost < one.cost || better(other, one) > 0));
  }
  found.sort((a, b) => a.cost - b.cost || -better(a, b));
  return { column, found };
}

function drawPareto() {
  const box = $("pareto");
  const { column, found } = points();
  if (!found.length) {
    box.replaceChildren(el("p", { class: "none" }, "No method has both this quality and this cost."));
    return;
  }
  const metric = column.task ? column.task.metrics[shownMetric(column.task)] : { title: "overall score", unit: "%", higher: true };
  const unit = metric.unit;
  const costWords = costTitle(state.cost) + (column.task ? "" : " (median over tasks)");
  const [W, H] = [width(box), 340];
  const [left, right, top, bottom] = [54, 16, 14, 46];
  const positive = found.filter((one) => one.cost > 0).map((one) => Math.log10(one.cost));
  const zero = found.some((one) => one.cost === 0);
  const [least, most] = positive.length ? padded(Math.min(...positive), Math.max(...positive), 0.3) : [0, 1];
  const start = left + (zero ? 40 : 0);
  const x = (cost) => (cost > 0 ? start + ((Math.log10(cost) - least) / (most - least)) * (W - right - start) : left + 14);
  const ends = found.flatMap(({ face }) => [face.v, face.l ?? face.v, face.h ?? face.v]);
  const [low, high] = padded(Math.min(...ends), Math.max(...ends), 0.002);
  const y = (value) => H - bottom - ((value - low) / (high - low)) * (H - top - bottom);

  const parts = [];
  for (const tick of ticks(low, high, 5)) {
    parts.push(line(`M${left} ${y(tick)}H${W - right}`, "grid"), words(left - 6, y(tick) + 4, valueText(tick, unit), "tick", "end"));
  }
  for (const [tick, labelled] of decades(least, most, (W - start) / 60)) {
    parts.push(line(`M${x(tick)} ${H - bottom}v5`, "axis"));
    if (labelled) parts.push(words(x(tick), H - bottom + 18, costText(state.cost, tick), "tick", "middle"));
  }
  if (zero) parts.push(words(left + 14, H - bottom + 18, "0", "tick", "middle"), line(`M${left + 32} ${top}V${H - bottom}`, "grid"));
  parts.push(line(`M${left} ${H - bottom}H${W - right}`, "axis"));
  parts.push(words((left + W) / 2, H - 8, costWords, "name", "middle"));
  const front = found.filter((one) => one.front);
  parts.push(line(front.map(({ cost, face }, at) => (at ? `H${x(cost)}V${y(face.v)}` : `M${x(cost)} ${y(face.v)}`)).join(""), "front"));
  for (const { cost, face } of found) {
    if (face.l !== undefined && face.h !== undefined) parts.push(line(`M${x(cost)} ${y(face.l)}V${y(face.h)}`, "whisker"));
  }
  for (const one of found) {
    const title = svg("title", {}, `${methods[one.m].title}: ${one.face.t} at ${costText(state.cost, one.cost)}`);
    parts.push(svg("circle", { cx: x(one.cost), cy: y(one.face.v), r: one.front ? 5 : 4, class: one.front ? "point best" : "point" }, title));
  }
  parts.push(...labels(found, x, y, [left, top, W - right, H - bottom]));
  const said = front.map(({ m, cost, face }) => `${methods[m].name} ${face.t} at ${costText(state.cost, cost)}`).join("; ");
  const direction = metric.higher ? "higher is better" : "lower is better";
  const name = column.task ? `${column.task.title}: ${metric.title}` : "Overall score";
  const label = `${name} (${direction}) against ${costWords}. Pareto front, cheapest first: ${said}. All values are in the table below.`;
  const rowsOf = found.map(({ m, cost, face, front: on }) => [methods[m].title, face.t, costText(state.cost, cost), on ? "yes" : "no"]);
  box.replaceChildren(
    el("p", { class: "facts" }, `${name}${unit ? `, ${unit}` : ""}; ${direction}; cost on a log axis. On the line are the methods that no other beats at the same cost or less.`),
    picture([W, H], label, ...parts),
    stated("The values of this plot", ["Method", metric.title, costWords, "On the front"], rowsOf),
  );
}

function padded(low, high, least) {
  const pad = Math.max(0.06 * (high - low), high === low ? least : 0);
  return [low - pad, high + pad];
}

function ticks(low, high, wanted) {
  const raw = (high - low) / wanted;
  const base = 10 ** Math.floor(Math.log10(raw));
  const step = base * ([1, 2, 5].find((one) => one * base >= raw) || 10);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high; at += 1) found.push(at * step);
  return found;
}

// Powers of ten, with 2 and 5 between them where there are few.
function decades(least, most, room) {
  const found = [];
  const fine = most - least < 2.2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil((most - least) / Math.max(2, room)));
  for (let power = Math.floor(least); power <= most; power += 1) {
    for (const one of fine) {
      const value = one * 10 ** power;
      if (Math.log10(value) >= least && Math.log10(value) <= most) found.push([value, power % every === 0]);
    }
  }
  return found;
}

// Names beside points where there is room, those of the front first.
function labels(found, x, y, [left, top, right, bottom]) {
  const taken = found.map(({ cost, face }) => [x(cost) - 5, y(face.v) - 5, x(cost) + 5, y(face.v) + 5]);
  const free = (box) =>
    box[0] >= left && box[1] >= top && box[2] <= right && box[3] <= bottom &&
    !taken.some((one) => box[0] < one[2] && box[2] > one[0] && box[1] < one[3] && box[3] > one[1]);
  const parts = [];
  for (const one of [...found].sort((a, b) => b.front - a.front)) {
    const name = methodName(one.m, 18);
    const [px, py, long] = [x(one.cost), y(one.face.v), 6.4 * name.length + 2];
    for (const [dx, dy] of [[8, -4], [-8 - long, -4], [8, 14], [-8 - long, 14], [-long / 2, -10], [-long / 2, 20]]) {
      const box = [px + dx, py + dy - 10, px + dx + long, py + dy + 3];
      if (!free(box)) continue;
      taken.push(box);
      parts.push(words(px + dx, py + dy, name, one.front ? "label best" : "label"));
      break;
    }
  }
  return parts;
}

// Average ranks on an axis; bars join methods that the test does not separate (Demsar 2006, figure 1).
function drawCritical() {
  const box = $("critical");
  const found = data.critical[place(rules, state.rule)];
  if (!found || !found.ranks.length) {
    box.replaceChildren(el("p", { class: "none" }, "Not computed for this selection rule."));
    return;
  }
  const ranks = [...found.ranks].sort((a, b) => a[1] - b[1]);
  const rankOf = new Map(ranks);
  const cliques = found.cliques.map((clique) => ranks.map(([m]) => m).filter((m) => clique.includes(m))).filter((clique) => clique.length > 1);
  const [first, last] = [Math.floor(ranks[0][1]), Math.max(Math.ceil(ranks.at(-1)[1]), Math.floor(ranks[0][1]) + 1)];
  const W = Math.max(520, width(box));
  const side = Math.min(190, W * 0.28);
  const x = (rank) => side + ((rank - first) / (last - first)) * (W - 2 * side);
  const bars = stacked(cliques.map((clique) => clique.map((m) => rankOf.get(m))).map((of) => [Math.min(...of), Math.max(...of)]));
  const axis = found.cd === null ? 30 : 52;
  const below = axis + 14 + 7 * bars.length;
  const half = Math.ceil(ranks.length / 2);
  const H = below + 20 * half + 8;
  const parts = [line(`M${x(first)} ${axis}H${x(last)}`, "axis")];
  const step = Math.max(1, Math.ceil((last - first) / ((W - 2 * side) / 26)));
  for (let rank = first; rank <= last; rank += 1) {
    parts.push(line(`M${x(rank)} ${axis}v-5`, "axis"));
    if ((rank - first) % step === 0) parts.push(words(x(rank), axis - 9, String(rank), "tick", "middle"));
  }
  if (found.cd !== null) {
    const end = Math.min(x(first + found.cd), W - 4);
    parts.push(line(`M${x(first)} 10v8M${x(first)} 14H${end}M${end} 10v8`, "axis"), words(end + 6, 18, `critical difference ${figures(Number(found.cd.toFixed(2)))}`, "tick"));
  }
  bars.forEach((level, at) => level.forEach(([low, high]) => parts.push(line(`M${x(low) - 3} ${axis + 10 + 7 * at}H${x(high) + 3}`, "clique"))));
  ranks.forEach(([m, rank], at) => {
    const onLeft = at < half;
    const y = below + 20 * (onLeft ? at : ranks.length - 1 - at) + 10;
    const title = svg("title", {}, `${methods[m].title}: average rank ${rank.toFixed(2)}`);
    parts.push(line(`M${x(rank)} ${axis}V${y}H${onLeft ? side - 4 : W - side + 4}`, "leader"));
    const name = `${methodName(m, Math.floor((side - 44) / 6.6))} ${rank.toFixed(2)}`;
    const label = words(onLeft ? side - 8 : W - side + 8, y + 4, name, "label", onLeft ? "end" : "start");
    label.append(title);
    parts.push(label);
  });
  const p = found.p === null ? "" : `Friedman test p ${found.p < 0.0001 ? "< 0.0001" : `= ${Number(found.p.toPrecision(2))}`}. `;
  const cd = found.cd === null ? "" : `Critical difference ${figures(Number(found.cd.toFixed(3)))}. `;
  const ties = cliques.map((clique) => clique.map((m) => methods[m].name).join(", ")).join("; ");
  const said = ranks.map(([m, rank]) => `${methods[m].name} ${rank.toFixed(2)}`).join(", ");
  const label = `Critical-difference diagram. ${p}${cd}Average ranks, best first: ${said}. Not separated: ${ties || "none"}.`;
  const groups = (m) => cliques.flatMap((clique, at) => (clique.includes(m) ? [String(at + 1)] : [])).join(", ") || "none";
  const scroll = el("div", { class: "region", role: "region", tabindex: "0", "aria-label": "Critical-difference diagram" }, picture([W, H], label, ...parts));
  box.replaceChildren(
    el("p", { class: "facts" }, `${p}${cd}Average ranks over tasks, best at the left; a bar joins methods that the test does not separate.`),
    scroll,
    stated("The values of this diagram", ["Method", "Average rank", "Bars it stands on"], ranks.map(([m, rank]) => [methods[m].title, rank.toFixed(2), groups(m)])),
  );
}

// Intervals on as few levels as hold them without touching.
function stacked(intervals) {
  const levels = [];
  for (const one of [...intervals].sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const level = levels.find((taken) => taken.at(-1)[1] < one[0]);
    if (level) level.push(one);
    else levels.push([one]);
  }
  return levels;
}

// A table of its own: the share of tasks on which the row's method is better than the column's.
function drawWins() {
  const box = $("wins");
  const found = data.wins[place(rules, state.rule)];
  if (!found) {
    box.replaceChildren(el("p", { class: "none" }, "Not computed for this selection rule."));
    return;
  }
  const shown = order().filter((m) => found[m].some((value) => value !== null) || found.some((row) => row[m] !== null));
  const names = shown.length <= 8;
  const top = shown.map((m, at) => el("th", { scope: "col", "aria-label": methods[m].title, title: methods[m].title }, names ? methodName(m, 12) : String(at + 1)));
  const build = () => {
    const lines = shown.map((m, at) => {
      const cells = shown.map((other) => {
        const value = found[m][other];
        if (m === other) return el("td", { class: "self" }, "–");
        if (value === null) return el("td", { class: "self" }, "missing");
        const cell = el("td", {}, String(Math.round(100 * value)));
        const strength = Math.min(1, 2 * Math.abs(value - 0.5));
        cell.style.backgroundColor = `color-mix(in srgb, var(${value >= 0.5 ? "--win" : "--lose"}) ${Math.round(38 * strength)}%, transparent)`;
        return cell;
      });
      return el("tr", {}, el("th", { scope: "row", title: methods[m].title }, names ? methodName(m, 24) : `${at + 1} ${methodName(m, 20)}`), ...cells);
    });
    const table = el("table", { class: "wins" }, el("caption", { class: "vh" }, "Win rates in per cent"), el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Method"), ...top)), el("tbody", {}, ...lines));
    return el("div", { class: "region", role: "region", tabindex: "0", "aria-label": "Win-rate matrix" }, table);
  };
  const text = el("p", { class: "facts" }, "Of the tasks both have, the per cent on which the row’s method is better than the column’s (ties count half).");
  if (shown.length <= 16) {
    box.replaceChildren(text, build());
    return;
  }
  const details = el("details", {}, el("summary", {}, `Show the matrix of ${shown.length} methods`));
  whenOpened(details, () => details.append(build()));
  box.replaceChildren(text, details);
}
