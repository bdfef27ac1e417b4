// Charts over time by uPlot: `[data-chart]` names the JSON script that holds {times, series, marks}; see the `chart` tag.
// Colours come from the stylesheet's tokens, so both themes fit. The arrow keys walk through the samples.
const charts = new Map();

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--pw-${name}`).trim();
const clock = (at) => new Date(at * 1000).toISOString().slice(11, 16);
const number = (value) => (value == null ? "–" : value.toLocaleString("en-US"));
const compact = (value) => (value >= 1000 ? `${number(value / 1000)} k` : number(value));
const FONT = '11px Inter, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';

// Seconds between labels. They show hours and minutes: a smaller step would repeat itself.
const STEPS = [60, 300, 600, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400];

const read = (figure) => JSON.parse(document.getElementById(figure.dataset.chart).textContent);
const columns = (data) => [data.times, ...data.series.map((series) => series.values)];

function seriesOptions({ label, tone }, first) {
  return {
    label,
    stroke: tone ? token(`${tone}-fill`) : token(first ? "ink-2" : "fill"),
    fill: first ? token(tone ? `${tone}-bg` : "area") : undefined,
    width: 1.5,
    points: { show: false },
  };
}

function options(figure, plot, data) {
  let ticks = [];
  const grid = { stroke: token("line"), width: 1 };
  return {
    width: plot.clientWidth,
    height: Number(figure.dataset.height),
    padding: [data.marks?.length ? 22 : 14, 0, 0, 0],
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
    series: [{}, ...data.series.map((series, index) => seriesOptions(series, index === 0))],
    axes: [
      { incrs: STEPS, stroke: token("ink-3"), font: FONT, size: 24, gap: 4, grid: { show: false }, ticks: { show: false }, values: hours },
      { size: 0, grid, ticks: { show: false }, values: (_, at) => (ticks = at).map(() => "") },
    ],
    hooks: {
      draw: [(u) => { labels(u, ticks); marks(u, read(figure).marks ?? []); }],
      setCursor: [(u) => readout(figure, u)],
    },
  };
}

// A label that would be cut off at either end is left out.
function hours(u, splits) {
  const end = u.valToPos(u.scales.x.max, "x");
  return splits.map((at) => {
    const x = u.valToPos(at, "x");
    return x < 14 || x > end - 14 ? "" : clock(at);
  });
}

function pen(u, draw) {
  const { ctx } = u;
  ctx.save();
  ctx.font = FONT.replace("11px", `${11 * devicePixelRatio}px`);
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.lineWidth = devicePixelRatio;
  draw(ctx, devicePixelRatio);
  ctx.restore();
}

// The figures of the y axis stand on their lines, inside the plot, with a halo.
function labels(u, ticks) {
  pen(u, (ctx, ratio) => {
    ctx.fillStyle = token("ink-3");
    ctx.strokeStyle = token("surface");
    ctx.lineWidth = 3 * ratio;
    for (const tick of ticks.filter((value) => value > 0)) {
      const y = u.valToPos(tick, "y", true) - 4 * ratio;
      ctx.strokeText(compact(tick), u.bbox.left, y);
      ctx.fillText(compact(tick), u.bbox.left, y);
    }
  });
}

// What happened when: config versions in the accent, trouble in red, the rest dashed. A label that would cover the one
// before it goes a line lower.
function marks(u, all) {
  pen(u, (ctx, ratio) => {
    ctx.font = `600 ${ctx.font}`;
    let edge = -Infinity;
    let line = 0;
    for (const { at, label, tone } of [...all].sort((a, b) => a.at - b.at)) {
      const x = u.valToPos(at, "x", true);
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      ctx.strokeStyle = token(tone === "accent" ? "accent" : tone ? `${tone}-fill` : "ink-2");
      ctx.setLineDash(tone ? [] : [3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, 0);
      ctx.lineTo(x, u.bbox.top + u.bbox.height);
      ctx.stroke();
      const left = x > u.bbox.left + u.bbox.width * 0.6;
      const start = x + (left ? -5 * ratio - ctx.measureText(label).width : 5 * ratio);
      line = start < edge ? line + 1 : 0;
      edge = start + ctx.measureText(label).width;
      ctx.fillStyle = token("ink");
      ctx.fillText(label, start, (10 + 13 * line) * ratio);
    }
  });
}

function readout(figure, u) {
  const caption = figure.querySelector("figcaption");
  const at = u.cursor.idx;
  caption.textContent =
    at == null ? "" : `${clock(u.data[0][at])} UTC: ${u.series.slice(1).map((s, i) => `${s.label} ${number(u.data[i + 1][at])}`).join(", ")}`;
}

function draw(figure) {
  const plot = figure.querySelector(".pw-plot");
  charts.get(figure)?.destroy();
  plot.replaceChildren();
  const data = read(figure);
  charts.set(figure, new uPlot(options(figure, plot, data), columns(data), plot));
}

function walk(figure, step) {
  const u = charts.get(figure);
  const last = u.data[0].length - 1;
  const at = Math.max(0, Math.min((u.cursor.idx ?? last + (step < 0 ? 1 : 0)) + step, last));
  u.setCursor({ left: u.valToPos(u.data[0][at], "x"), top: 0 });
}

const resized = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const chart = charts.get(target.closest("[data-chart]"));
    if (chart && chart.width !== contentRect.width) chart.setSize({ width: contentRect.width, height: chart.height });
  }
});

for (const figure of document.querySelectorAll("[data-chart]")) {
  draw(figure);
  const plot = figure.querySelector(".pw-plot");
  resized.observe(plot);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    walk(figure, step);
  });
}

document.addEventListener("pw:live", () => {
  for (const [figure, chart] of charts) {
    if (figure.isConnected) chart.setData(columns(read(figure)));
  }
});
document.addEventListener("pw:theme", () => [...charts.keys()].forEach(draw));
