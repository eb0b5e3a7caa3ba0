// Charts of what the tables behind them say; without this file the tables are there.
//
// A figure may be drawn while the page is still on its way. A chart's texts, colours and marks are
// those of its table and its legend, so that nothing is told twice, and nothing is made into HTML.

const MARKS_MAX = 45; // with more buckets a mark on each says nothing
const MARK_PX = 12; // the square that a legend's mark is drawn in
const DASHED = [5, 4];
const DOTTED = [1, 4];

const scheme = matchMedia("(prefers-color-scheme: dark)");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function numberOf(text) {
  const value = Number(text.replaceAll(",", "") || NaN);
  return Number.isNaN(value) ? null : value;
}

function read(figure) {
  const table = figure.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells].slice(1);
  return {
    rows: rows.map((row) => ({
      label: row.cells[0].textContent,
      short: row.dataset.short,
      isPartial: row.classList.contains("partial"),
    })),
    lines: heads.map((head, at) => ({
      line: Number(head.dataset.line),
      isBefore: "before" in head.dataset,
      name: head.textContent,
      texts: rows.map((row) => row.cells[at + 1].textContent),
    })),
  };
}

// A line is drawn in two strokes: what is whole, and dashed what leads to a bucket that is not.
function strokesOf(line, rows) {
  const values = line.texts.map(numberOf);
  if (line.isBefore) return [{ ...line, values, dash: DOTTED }];
  const whole = values.map((value, at) => (rows[at].isPartial ? null : value));
  const open = values.map((value, at) => (
    rows[at].isPartial || rows[at - 1]?.isPartial || rows[at + 1]?.isPartial ? value : null));
  return [
    { ...line, values: whole },
    { ...line, values: open, dash: DASHED, isOpen: true },
  ];
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    const { rows, lines } = read(figure);
    this.rows = rows;
    this.strokes = lines.flatMap((line) => strokesOf(line, rows));
    this.toggles = [...figure.querySelectorAll("input[data-line]")];
    this.marks = this.toggles.map((toggle) => toggle.parentElement.querySelector("path").getAttribute("d"));
    this.readColours();
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.chart = new uPlot(this.options(), this.data(), this.plot);
    this.plot.append(this.tip);
    for (const toggle of this.toggles) toggle.addEventListener("change", () => this.show(toggle));
    new ResizeObserver(() => this.resize()).observe(this.plot);
    scheme.addEventListener("change", () => {
      this.readColours();
      this.chart.redraw(false, true);
    });
  }

  readColours() {
    this.colours = this.toggles.map((toggle) => getComputedStyle(toggle.closest("li").querySelector(".mark")).color);
    this.paper = colour("--raised");
  }

  isShown(line) {
    return this.toggles[line].checked;
  }

  show(toggle) {
    const line = Number(toggle.dataset.line);
    this.strokes.forEach((stroke, at) => {
      if (stroke.line === line) this.chart.setSeries(at + 1, { show: toggle.checked });
    });
  }

  resize() {
    const width = this.plot.clientWidth;
    if (width > 0 && width !== this.chart.width) this.chart.setSize({ width, height: this.plot.clientHeight });
  }

  data() {
    return [this.rows.map((_, at) => at), ...this.strokes.map((stroke) => stroke.values)];
  }

  options() {
    const last = this.rows.length - 1;
    const isAlone = new Set(this.strokes.map((stroke) => stroke.line)).size === 1;
    const quiet = { stroke: () => colour("--soft"), font: `12px ${colour("--sans")}` };
    return {
      width: this.plot.clientWidth,
      height: this.plot.clientHeight,
      padding: [12, 28, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
      scales: {
        x: { time: false, range: () => (last ? [0, last] : [-1, 1]) },
        y: { range: (_, low, high) => {
          const [bottom, top] = [Math.min(0, low ?? 0), Math.max(0, high ?? 0)];
          return [bottom && bottom * 1.08, top ? top * 1.08 : bottom ? 0 : 1];
        } },
      },
      axes: [
        {
          ...quiet,
          grid: { show: false },
          ticks: { stroke: () => colour("--line"), size: 4 },
          space: 64,
          incrs: [1, 2, 3, 4, 6, 7, 12, 14, 24, 28, 30, 48, 60, 72, 90, 120, 168, 180, 365, 730, 1460],
          values: (_, splits) => splits.map((at) => this.rows[at]?.short ?? ""),
        },
        {
          ...quiet,
          grid: { stroke: () => colour("--line"), width: 1 },
          ticks: { show: false },
          size: 56,
          values: (_, splits) => splits.map((value) => compact.format(value)),
        },
      ],
      series: [{}, ...this.strokes.map((stroke) => this.series(stroke, isAlone))],
      hooks: { setCursor: [(chart) => this.point(chart)] },
    };
  }

  series(stroke, isAlone) {
    const hasMarks = this.rows.length <= MARKS_MAX && !stroke.isBefore;
    const isMarked = (at) => stroke.values[at] !== null && (!stroke.isOpen || this.rows[at].isPartial);
    return {
      show: this.isShown(stroke.line),
      stroke: () => this.colours[stroke.line],
      width: stroke.isBefore ? 1.5 : 2,
      dash: stroke.dash ?? (stroke.line >= 6 ? [12, 3] : undefined),
      cap: stroke.isBefore ? "round" : "butt",
      fill: isAlone && !stroke.isBefore ? () => colour("--accent-tint") : undefined,
      points: {
        show: hasMarks,
        filter: () => (hasMarks ? stroke.values.flatMap((_, at) => (isMarked(at) ? [at] : [])) : null),
        paths: (chart, _, first, until, at) => this.markPaths(chart, stroke, at ?? []),
        stroke: () => this.colours[stroke.line],
        fill: () => (stroke.isOpen ? this.paper : this.colours[stroke.line]),
        width: 1.5,
      },
    };
  }

  markPaths(chart, stroke, places) {
    const size = 0.65 * devicePixelRatio;
    const shape = new Path2D(this.marks[stroke.line]);
    const all = new Path2D();
    for (const at of places) {
      const x = chart.valToPos(at, "x", true) - (MARK_PX / 2) * size;
      const y = chart.valToPos(stroke.values[at], "y", true) - (MARK_PX / 2) * size;
      all.addPath(shape, new DOMMatrix([size, 0, 0, size, x, y]));
    }
    return { stroke: all, fill: all, clip: undefined };
  }

  point(chart) {
    const at = chart.cursor.idx;
    const isThere = at !== null && at !== undefined && chart.cursor.left >= 0 && at in this.rows;
    this.tip.hidden = !isThere;
    if (!isThere) return;
    const lines = this.strokes.filter((stroke) => !stroke.isOpen && this.isShown(stroke.line));
    this.tip.replaceChildren(text("b", this.rows[at].label), ...lines.map((stroke) => {
      const row = text("span", stroke.name);
      row.className = `c${stroke.line % 6}`;
      row.append(text("b", stroke.texts[at]));
      return row;
    }));
    const x = chart.valToPos(at, "x") + chart.over.offsetLeft;
    const isRight = x > this.plot.clientWidth / 2;
    const left = isRight ? x - this.tip.offsetWidth - 12 : x + 12;
    this.tip.style.transform = `translate(${Math.max(0, left)}px, 12px)`;
  }
}

function text(tag, content) {
  const element = document.createElement(tag);
  element.textContent = content;
  return element;
}

function draw() {
  for (const figure of document.querySelectorAll("figure[data-chart]:not([data-drawn])")) {
    // What comes behind it is there, so all of it is.
    if (document.readyState === "loading" && !figure.nextSibling) continue;
    figure.dataset.drawn = "";
    new Chart(figure);
  }
}

function start() {
  draw();
  if (document.readyState !== "loading") return;
  const watching = new MutationObserver(draw);
  watching.observe(document, { childList: true, subtree: true });
  document.addEventListener("DOMContentLoaded", () => {
    watching.disconnect();
    draw();
  });
}

if (window.uPlot) start();
else document.getElementById("uplot").addEventListener("load", start);
