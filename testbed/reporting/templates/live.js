"use strict";
// Shows each view that the server sends. Names go in as text, never as markup.
const ABSENT = "–";
const percent = (share) => (share === null ? ABSENT : (100 * share).toFixed(1) + " %");
const milliseconds = (figure) => (figure === null ? ABSENT : figure.toFixed(figure < 100 ? 1 : 0) + " ms");
const rate = (bps) => {
  for (const [factor, unit] of [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"]])
    if (bps >= factor) return Number((bps / factor).toPrecision(4)) + " " + unit;
  return Number(bps.toPrecision(4)) + " bit/s";
};

const element = (id) => document.getElementById(id);

function said(name, words) {
  const made = document.createElement(name);
  made.textContent = words;
  return made;
}

function row(cells, kind) {
  const made = document.createElement("tr");
  made.append(...cells.map((words) => said(kind, words)));
  return made;
}

function fill(id, columns, rows) {
  const table = element(id);
  table.tHead.replaceChildren(row(columns, "th"));
  table.tBodies[0].replaceChildren(...rows.map((cells) => row(cells, "td")));
}

function figures(view) {
  const ended = Object.values(view.ended).reduce((sum, number) => sum + number, 0);
  const counts = Object.entries(view.ended).map(([name, number]) => `${number} ${name.replace("_", " ")}`);
  const shown = [
    ["jobs", `${ended} of ${view.issued}`, counts.join(", ")],
    ["on time", percent(view.success), `${percent(view.success_recent)} in the last 10 s`],
    ["completion p50 / p95, last 10 s", `${milliseconds(view.completion_p50_ms)} / ${milliseconds(view.completion_p95_ms)}`, ""],
  ];
  element("figures").replaceChildren(
    ...shown.map(([name, words, beside]) => {
      const made = document.createElement("div");
      const note = said("dd", beside);
      note.className = "note";
      made.append(said("dt", name), said("dd", words), note);
      return made;
    }),
  );
}

function drawn(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function history(view) {
  const [left, top, width, height] = [46, 10, 700, 140];
  const first = view.history.length ? view.history[0][0] : 0;
  const last = Math.max(first + 1, view.duration_s);
  const x = (second) => left + (width * (second - first)) / (last - first);
  const y = (share) => top + height * (1 - share);
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    parts.push(drawn("line", { class: "grid", x1: left, x2: left + width, y1: y(share), y2: y(share) }));
    const words = drawn("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" });
    words.textContent = 100 * share;
    parts.push(words);
  }
  for (const [second, anchor] of [[first, "start"], [last, "end"]]) {
    const words = drawn("text", { x: x(second), y: top + height + 18, "text-anchor": anchor });
    words.textContent = Math.round(second) + " s";
    parts.push(words);
  }
  const points = view.history.map(([second, jobs, good]) => `${x(second + 0.5).toFixed(1)},${y(good / jobs).toFixed(1)}`);
  parts.push(drawn("polyline", { class: "mark line k2", points: points.join(" ") }));
  const svg = element("history");
  svg.replaceChildren(svg.firstElementChild, ...parts);
}

function show(view) {
  if (view.run) {
    document.title = `testbed: ${view.policy}`;
    element("run").textContent = view.run;
  }
  const state = view.over ? "over" : view.run ? "running" : "waiting";
  element("state").textContent = view.run
    ? `${view.policy}, ${Math.max(0, view.elapsed_s).toFixed(1)} of ${view.duration_s} s: ${state}`
    : state;
  figures(view);
  history(view);
  fill("edges", ["edge", "queued work", "jobs", "on time"], view.edges.map((edge) => [
    edge.name, milliseconds(1000 * edge.backlog_s), edge.jobs, percent(edge.jobs ? edge.on_time / edge.jobs : null),
  ]));
  fill("links", ["from", "to", "rate", "delay", "loss"], view.links.map((link) => [
    link.start, link.end, rate(link.bandwidth_bps), milliseconds(link.delay_ms), link.loss >= 1 ? "cut" : percent(link.loss),
  ]));
  element("earlier-section").hidden = view.earlier.length === 0;
  fill("earlier", ["run", "policy", "jobs", "on time"], view.earlier.map((run) => [
    run.run, run.policy, run.ended, percent(run.ended ? run.on_time / run.ended : null),
  ]));
}

const source = new EventSource("/events");
source.addEventListener("message", (event) => {
  const view = JSON.parse(event.data);
  show(view);
  if (view.over) source.close();
});
source.addEventListener("error", () => {
  element("state").textContent = "the server does not answer";
});
