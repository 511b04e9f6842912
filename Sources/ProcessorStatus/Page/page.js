"use strict";
// The page asks for the state each second and draws it. The processor remembers the past ten minutes, so that a page
// that was opened now shows them too.

const remembered = 600;
const element = (id) => document.getElementById(id);
let past = [];
let startedAt = null;
let lastAnswer = null;
let lastStatus = null;
let timer = null;

// Numbers for people

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const missing = (value) => value === null || value === undefined;

function count(value) {
  return missing(value) ? "–" : whole.format(value);
}

function rate(value) {
  if (missing(value)) return "–";
  return value !== 0 && Math.abs(value) < 10 ? value.toFixed(1) : count(value);
}

function seconds(value) {
  if (missing(value)) return "–";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${(value * 1000).toFixed(value < 0.1 ? 1 : 0)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  const parts = [[Math.floor(value / 86400), "d"], [Math.floor(value / 3600) % 24, "h"], [Math.floor(value / 60) % 60, "min"],
    [Math.floor(value) % 60, "s"]];
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts.slice(first, first + 2).map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

/** How long something lasts by now: whole seconds are enough. */
function age(value) {
  const rounded = Math.max(1, Math.round(value));
  return rounded < 60 ? `${rounded} s` : seconds(rounded);
}

/** A time between two clocks of milliseconds. */
function between(value) {
  return !missing(value) && value <= 0.001 ? "under 1 ms" : seconds(value);
}

function bytes(value) {
  if (missing(value)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${value.toFixed(unit > 0 && value < 100 ? 1 : 0)} ${units[unit]}`;
}

function share(value) {
  return missing(value) ? "–" : `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
}

function clockTime(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString();
}

// Elements

function make(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function draw(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function text(id, value) {
  const target = element(id);
  if (target.textContent !== value) target.textContent = value;
}

function pill(state) {
  return make("span", `pill ${state}`, state);
}

// Charts

/** Lines over the past ten minutes, or what there is of them; the pointer reads single seconds. */
function spark(id, columns, format, name) {
  // At least a minute, so that a young processor's line does not jump.
  const span = [60, 120, 180, 300, remembered].find((length) => past.length > 0 && past.at(-1).time - past[0].time <= length * 1000) ?? remembered;
  const place = element(id);
  const width = Math.max(120, place.clientWidth), height = 64, top = 16, bottom = 14;
  const values = past.flatMap((point) => columns.map((column) => point[column])).filter((value) => !missing(value));
  if (values.length === 0) {
    place.replaceChildren(make("div", "empty", "nothing yet"));
    return;
  }
  const largest = Math.max(...values, 0);
  const end = past.at(-1).time;
  const x = (time) => width - ((end - time) / 1000 / span) * width;
  const y = (value) => height - bottom - (largest > 0 ? value / largest : 0) * (height - top - bottom);
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
  picture.setAttribute("aria-label", `${name}, the last ${span / 60} minutes: now ${format(past.at(-1)[columns[0]])}, at most ${format(largest)}`);
  picture.append(draw("line", { class: "axis", x1: 0, x2: width, y1: height - bottom, y2: height - bottom }));
  columns.forEach((column, index) => {
    for (const run of runs(column)) {
      const line = run.map((point) => `${x(point.time).toFixed(1)},${y(point[column]).toFixed(1)}`).join("L");
      if (index === 0 && run.length > 1) {
        picture.append(draw("path", { class: "area",
          d: `M${x(run[0].time).toFixed(1)},${height - bottom}L${line}L${x(run.at(-1).time).toFixed(1)},${height - bottom}Z` }));
      }
      picture.append(run.length > 1 ? draw("path", { class: index ? "stroke two" : "stroke", d: `M${line}` })
        : draw("circle", { class: "dot", r: 1.5, cx: x(run[0].time), cy: y(run[0][column]) }));
    }
  });
  const label = (value, attributes) => {
    const made = draw("text", attributes);
    made.textContent = value;
    picture.append(made);
    return made;
  };
  label(`${span / 60} min ago`, { x: 0, y: height - 1 });
  label("now", { x: width, y: height - 1, "text-anchor": "end" });
  const head = label(`${columns.length > 1 ? "dashed: 95 %, " : ""}max ${format(largest)}`, { x: width, y: 10, "text-anchor": "end" });
  const resting = head.textContent;
  const cursor = draw("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" });
  picture.append(cursor);
  const read = (clientX) => {
    const time = end - (1 - (clientX - picture.getBoundingClientRect().left) / picture.clientWidth) * span * 1000;
    const point = past.reduce((best, candidate) => Math.abs(candidate.time - time) < Math.abs(best.time - time) ? candidate : best);
    cursor.setAttribute("x1", x(point.time));
    cursor.setAttribute("x2", x(point.time));
    cursor.setAttribute("visibility", "visible");
    head.textContent = `${clockTime(point.time)}  ${columns.map((column) => format(point[column])).join(" / ")}`;
  };
  picture.addEventListener("pointermove", (event) => { place.pointer = event.clientX; read(event.clientX); });
  picture.addEventListener("pointerleave", () => {
    place.pointer = null;
    cursor.setAttribute("visibility", "hidden");
    head.textContent = resting;
  });
  place.replaceChildren(picture);
  if (!missing(place.pointer)) read(place.pointer);
}

/** Stretches of the past in which a column has values; a gap of more than three seconds ends one. */
function runs(column) {
  const found = [];
  let last = null;
  for (const point of past) {
    if (missing(point[column])) continue;
    if (last === null || point.time - last > 3500) found.push([]);
    found.at(-1).push(point);
    last = point.time;
  }
  return found;
}

/** How latency is spread, on a logarithmic axis, with its percentiles marked. */
function distribution(latency) {
  const place = element("distribution");
  if (latency.count === 0) {
    place.replaceChildren(make("div", "empty", "no reading has become a row in the last 10 minutes"));
    return;
  }
  const width = Math.max(240, place.clientWidth), height = 236, top = 44, bottom = 22;
  const last = latency.buckets.map(([bound]) => bound).findLast((bound) => bound !== null) ?? 1e5;
  const bounds = latency.buckets.map(([bound]) => bound ?? last * Math.pow(10, 1 / 8));
  // At least a decade, whole decades from below.
  const low = Math.floor(Math.log10(bounds[0]) - 0.126), high = Math.max(low + 1, Math.ceil(Math.log10(bounds.at(-1)) - 1e-6));
  const x = (value) => ((Math.log10(Math.max(value, Math.pow(10, low))) - low) / (high - low)) * width;
  const largest = Math.max(...latency.buckets.map(([, amount]) => amount));
  const y = (amount) => height - bottom - (amount / largest) * (height - top - bottom);
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
  picture.setAttribute("aria-label", `Latency of ${count(latency.count)} readings: median ${seconds(latency.p50)}, `
    + `95 percent within ${seconds(latency.p95)}, 99 percent within ${seconds(latency.p99)}, longest ${seconds(latency.max)}`);
  latency.buckets.forEach(([, amount], index) => {
    const right = x(bounds[index]), left = x(bounds[index] / Math.pow(10, 1 / 8));
    const bar = draw("rect", { class: "bar", x: left + 0.5, width: Math.max(1, right - left - 1), y: y(amount), height: height - bottom - y(amount), rx: 1.5 });
    const title = draw("title", {});
    title.textContent = `up to ${seconds(bounds[index])}: ${count(amount)} readings`;
    bar.append(title);
    picture.append(bar);
  });
  picture.append(draw("line", { class: "axis", x1: 0, x2: width, y1: height - bottom, y2: height - bottom }));
  // As many as there is room for.
  const every = Math.ceil(58 / (width / (high - low)));
  for (let decade = low; decade <= high; decade += every) {
    const value = Math.pow(10, decade);
    const tick = draw("text", { x: x(value), y: height - 6, "text-anchor": decade === low ? "start" : decade === high ? "end" : "middle" });
    tick.textContent = decadeName(decade);
    picture.append(draw("line", { class: "axis", x1: x(value), x2: x(value), y1: height - bottom, y2: height - bottom + 4 }), tick);
  }
  const marks = [["median", latency.p50, 10], ["95 %", latency.p95, 25], ["99 %", latency.p99, 40]];
  for (const [, value, line] of marks) picture.append(draw("line", { class: "mark", x1: x(value), x2: x(value), y1: line - 8, y2: height - bottom }));
  marks.forEach(([name, value, line]) => {
    const place = x(value);
    const onLeft = place > width - 110;
    const label = draw("text", { class: "label", x: place + (onLeft ? -4 : 4), y: line, "text-anchor": onLeft ? "end" : "start" });
    label.textContent = `${name} ${seconds(value)}`;
    picture.append(label);
  });
  place.replaceChildren(picture);
}

function decadeName(decade) {
  if (decade < 0) return `${Math.pow(10, decade + 3)} ms`;
  return { 0: "1 s", 1: "10 s", 2: "100 s", 3: "17 min", 4: "2.8 h", 5: "28 h" }[decade] ?? `${count(Math.pow(10, decade))} s`;
}

/** One bar a batch: as high as it took, with its size in the description. */
function batches(list) {
  const place = element("batches");
  if (list.length === 0) {
    place.replaceChildren(make("div", "empty", "no batch yet"));
    text("batches-note", "");
    return;
  }
  const width = Math.max(240, place.clientWidth), half = 96, gap = 24, height = 2 * half + gap;
  const slots = Math.max(30, list.length), step = width / slots;
  const longest = Math.max(...list.map(([, , , taken]) => taken)), largest = Math.max(...list.map(([, messages]) => messages), 1);
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
  picture.setAttribute("aria-label", `The last ${list.length} batches: at most ${seconds(longest)} and ${count(largest)} messages`);
  list.forEach(([time, messages, rows, taken], index) => {
    const x = width - (list.length - index) * step;
    const bar = (value, scale, base, className) => {
      const tall = Math.max(1, (value / scale) * (half - 20));
      return draw("rect", { class: className, x: x + step * 0.12, width: Math.max(1, step * 0.76), y: base - tall, height: tall, rx: Math.min(2, step / 4) });
    };
    const title = draw("title", {});
    title.textContent = `${clockTime(time)}: ${count(messages)} messages, ${count(rows)} rows, ${seconds(taken)}`;
    picture.append(draw("g", {}, title, bar(taken, longest || 1, half, "bar"), bar(messages, largest, height, "bar size")));
  });
  for (const [base, words] of [[half, `duration, longest ${seconds(longest)}`], [height, `messages, most ${count(largest)}`]]) {
    picture.append(draw("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }));
    const label = draw("text", { x: 0, y: base - half + 11 });
    label.textContent = words;
    picture.append(label);
  }
  place.replaceChildren(picture);
  text("batches-note", `The last ${list.length}, since ${clockTime(list[0][0])}; the newest on the right`);
}

function stages(list) {
  const known = list.reduce((sum, stage) => sum + (stage.p50 ?? 0), 0);
  element("stage-bar").replaceChildren(...list.flatMap((stage, index) => {
    if (missing(stage.p50)) return [];
    const part = make("span", `s${index + 1}`, stage.p50 / known > 0.06 ? `${index + 1}` : "");
    part.style.flexGrow = known > 0 ? stage.p50 / known : 1;
    return [part];
  }));
  element("stages").replaceChildren(...list.map((stage, index) => make("li", "",
    make("i", `s${index + 1}`, `${index + 1}`),
    make("span", "", make("b", "", stage.stage[0].toUpperCase() + stage.stage.slice(1)), make("small", "", stage.meaning)),
    make("span", "times", make("b", "", stage.count === 0 ? "not known" : between(stage.p50)),
      make("small", "", stage.count === 0 ? "no sample" : `95 % ${between(stage.p95)}`)))));
}

// Lists and tables

function facts(id, list) {
  element(id).replaceChildren(...list.flatMap(([name, value, isWarning]) => [make("dt", "", name), make("dd", isWarning ? "warn" : "", value)]));
}

/** Rebuilds a table: columns are [name, class]; the first cell of each row names it. */
function table(id, columns, rows, emptyText) {
  const target = element(id);
  if (rows.length === 0) {
    target.replaceChildren(make("tbody", "", make("tr", "", make("td", "", emptyText))));
    return;
  }
  const heading = make("tr", "", ...columns.map(([name, className]) => {
    const cell = make("th", className, name);
    cell.scope = "col";
    return cell;
  }));
  target.replaceChildren(make("thead", "", heading), make("tbody", "", ...rows.map((row) => make("tr", "", ...row.map((value, index) => {
    const cell = make(index === 0 ? "th" : "td", columns[index][1], value);
    if (index === 0) cell.scope = "row";
    return cell;
  })))));
}

function partitions(status) {
  const most = Math.max(1, ...status.partitions.map((partition) => partition.lag ?? 0));
  table("partitions", [["partition", ""], ["worker", "number optional"], ["next offset", "number"], ["end", "number"], ["lag", "number"]],
    status.partitions.toSorted((one, other) => one.partition - other.partition).map((partition) => {
      const meter = make("span", "meter optional", make("span"));
      meter.firstChild.style.width = `${((partition.lag ?? 0) / most) * 100}%`;
      const lag = make("span", "", meter, count(partition.lag));
      return [`${partition.partition}`, `${partition.worker}`, count(partition.committed), count(partition.end), lag];
    }), "No partition is assigned to this processor.");
  text("topic", `${status.topic}, read by group ${status.group}; the lag is what is not in PostgreSQL yet`);
}

function ranges(numbers) {
  const found = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ") || "none";
}

function members(status) {
  table("members", [["processor", ""], ["host", "optional"], ["state", ""], ["partitions", "wide"], ["lag", "number"], ["messages/s", "number optional"]],
    (status.members ?? []).map((member) => {
      const isThis = member.instance === status.instance;
      const name = make("span", "", member.instance, make("small", "", ` #${member.worker}${isThis ? " · this one" : ""}`));
      const state = make("span", "", pill(member.state));
      if (member.state === "gone") state.append(make("small", "", ` for ${age(member.age_seconds)}`));
      const isGone = member.state === "gone";
      return [name, member.host, state, ranges(member.partitions), isGone ? "–" : count(member.lag), isGone ? "–" : rate(member.messages_per_second)];
    }), status.members === null ? "The database has not been asked yet." : "No processor gives a heartbeat.");
}

// The whole

function show(status) {
  const { counts, state, latency } = status;
  document.body.classList.toggle("maintenance", status.role !== "processing");
  document.title = `${status.instance} · Vigie processor`;
  text("instance", status.instance);
  text("identity", `Process ${status.process_id} on ${status.host}`);
  text("version", `Vigie ${status.version}`);
  text("uptime", `Up ${age(status.uptime_seconds)}`);
  text("throughput", rate(status.messages_per_second));
  text("rows", `${rate(status.rows_per_second)} rows/s · ${count(counts.messages)} messages in all`);
  text("latency", seconds(latency.p50));
  text("latency-95", latency.count > 0 ? `95 % ${seconds(latency.p95)} · 99 % ${seconds(latency.p99)}` : "no sample yet");
  text("lag", count(status.lag));
  const behind = status.partitions.filter((partition) => partition.lag > 0).length;
  text("lag-text", `${behind} of ${status.partitions.length} partitions behind`);
  const last = status.batches.at(-1);
  text("batch", last ? seconds(last[3]) : "–");
  text("batch-text", last ? `${count(last[1])} messages · ${count(counts.batches)} batches in all` : "no batch yet");
  spark("spark-throughput", ["messages_per_second"], rate, "Messages a second");
  spark("spark-latency", ["latency_median", "latency_95"], seconds, "Latency, median and 95th percentile");
  spark("spark-lag", ["lag"], count, "Consumer lag");
  spark("spark-batch", ["batch_seconds"], seconds, "Slowest batch of each second");
  distribution(latency);
  stages(status.stages);
  batches(status.batches);
  const alerts = status.alerts;
  const open = alerts?.reduce((sum, alert) => sum + alert.count, 0);
  const processing = status.role === "processing";
  facts("counts", [
    ...(processing ? [
      ["Rows written", count(counts.rows)], ["Window rows written", count(counts.windows)], ["Duplicates dropped", count(counts.duplicates)],
      ["Late", count(counts.late)], ["Rejected", count(counts.rejected), counts.rejected > 0],
    ] : []),
    ["Missing", count(status.database.missing), status.database.missing > 0],
    ["Alerts open", missing(open) ? "–" : count(open), open > 0],
    ...(alerts ?? []).map((alert) => [`   ${alert.kind}, ${alert.severity}`, count(alert.count)]),
  ]);
  facts("state", [
    ...(processing ? [
      ["Sensors", count(state.sensors)], ["Open windows", count(state.windows)], ["Panes", count(state.panes)], ["State", bytes(state.bytes)],
    ] : []),
    ["Memory of the process", bytes(status.process.resident_bytes)], ["CPU, of one core", share(status.process.cpu_share)],
    ...(processing ? [["Partitions", count(status.partitions.length)]] : []),
  ]);
  partitions(status);
  members(status);
}

function banner(kind, title, detail) {
  const target = element("banner");
  target.hidden = !kind;
  target.className = kind ?? "";
  const words = `${title ?? ""}\n${detail ?? ""}`;
  if (target.words === words) return;
  target.words = words;
  target.replaceChildren(make("b", "", title ?? ""), detail ?? "");
}

function health(state, word) {
  const target = element("health");
  target.className = `pill ${state}`;
  if (target.textContent !== word) target.textContent = word;
}

function showCondition(isAnswered) {
  document.body.classList.toggle("stale", !isAnswered);
  if (!isAnswered) {
    const since = lastAnswer === null ? null : (Date.now() - lastAnswer) / 1000;
    health("silent", "no answer");
    text("updated", since === null ? "" : `State of ${clockTime(lastAnswer)}`);
    banner("bad", "The processor does not answer.", since === null
      ? "It may be stopped. This page asks again each second."
      : `What is shown is ${age(since)} old. It may be stopped; this page asks again each second.`);
    return;
  }
  text("updated", `Updated ${clockTime(lastAnswer)}`);
  health(lastStatus.health.state, lastStatus.health.state);
  const trouble = lastStatus.database.trouble;
  const bad = lastStatus.health.parts.filter((part) => !part.name.startsWith("postgres") && !["healthy", "starting"].includes(part.state));
  if (trouble) banner("warn", "PostgreSQL cannot be used; reading pauses and goes on by itself.", trouble);
  else if (bad.length > 0) banner("warn", "Not everything works.", bad.map((part) => `${part.name}: ${part.state}`).join("; "));
  else if (lastStatus.role === "maintenance") {
    banner("info", "This process does maintenance only.",
      `Another engine reads ${lastStatus.topic}; this one makes partitions ahead, keeps retention and tells the webhook of alerts.`);
  } else if (lastStatus.counts.messages === 0) {
    banner("info", "Nothing has come yet.", lastStatus.partitions.length === 0
      ? "No partition is assigned so far: the consumer group may still be forming, or other processors have them all."
      : `${lastStatus.partitions.length} partitions of ${lastStatus.topic} are assigned and hold nothing new.`);
  } else banner(null);
}

// Asking

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function take(table) {
  for (const values of table.points) {
    const point = Object.fromEntries(table.columns.map((column, index) => [column, values[index]]));
    if (past.length === 0 || point.time > past.at(-1).time) past.push(point);
  }
  if (past.length > remembered) past = past.slice(-remembered);
}

/** The state, after the past if this page does not know it. */
async function fetchStatus() {
  const status = await ask("status.json");
  const oldest = status.history.points[0]?.[0];
  const isAnother = status.started_at !== startedAt;
  if (isAnother || (oldest !== undefined && past.length > 0 && oldest > past.at(-1).time + 2500)) {
    const table = await ask("history.json");
    past = [];
    startedAt = status.started_at;
    take(table);
  }
  take(status.history);
  return status;
}

async function poll() {
  clearTimeout(timer);
  let status = null;
  try {
    status = await fetchStatus();
  } catch {
    showCondition(false);
  }
  // A page that nobody sees asks nothing; it catches up when it is seen again.
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, 1000);
  if (status === null) return;
  lastAnswer = Date.now();
  lastStatus = status;
  document.body.classList.remove("loading");
  show(status);
  showCondition(true);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
window.addEventListener("resize", () => { if (lastStatus) show(lastStatus); });
poll();
