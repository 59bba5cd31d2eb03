// The curves, by Chart.js. Series differ by dash and mark, not by colour alone; a sentence describes each picture to visitors who can't see it.

import { byId, fixed, percent, setText, speed } from './text.js';
import { curveWords, qualityWords } from './expected.js';
import { projector } from './feed.js';

const shown = new Map();
const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// What each canvas shows: series by their names in the document, label, colour, dash, mark; how to write a value; limits of the axis.
const pictures = {
  loss: {
    series: [['loss_d', 'Discriminator', '--first', [], 'circle'], ['loss_g', 'Generator', '--second', [7, 4], 'triangle']],
    write: (v) => fixed(v, 3), axis: { beginAtZero: true },
  },
  right: {
    series: [['right_on_real', 'on real', '--first', [], 'circle'], ['right_on_fake', 'on generated', '--second', [7, 4], 'triangle']],
    write: (v) => percent(v), axis: { min: 0, max: 1 },
  },
  quality: { series: [['quality', 'Distance', '--first', [], 'circle']], write: (v) => fixed(v, 1), axis: { beginAtZero: true } },
  speed: { series: [['speed', 'Images per second', '--first', [], 'circle']], write: (v) => speed(v), axis: { beginAtZero: true } },
};

function dataset([key, label, colour, dash, mark]) {
  return { key, label, borderDash: dash, pointStyle: mark, colour, data: [], borderWidth: projector ? 4 : 2, tension: 0, spanGaps: true };
}

// The legend shows each line as it is drawn, with its dashes.
function drawLines(chart) {
  return Chart.defaults.plugins.legend.labels.generateLabels(chart)
    .map((label) => ({ ...label, pointStyle: 'line', lineDash: chart.data.datasets[label.datasetIndex].borderDash }));
}

function options(picture) {
  const share = picture.axis.max === 1;
  return {
    animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
    interaction: { mode: 'index', intersect: false },
    scales: {
      x: {
        type: 'linear', bounds: 'data', title: { display: true, text: 'iteration' },
        ticks: { maxTicksLimit: 6, includeBounds: false, precision: 0, maxRotation: 0 },
      },
      y: { ...picture.axis, ticks: { maxTicksLimit: 5, callback: (value) => (share ? percent(value) : String(+value.toPrecision(3))) } },
    },
    plugins: {
      legend: {
        display: picture.series.length > 1,
        labels: { usePointStyle: true, pointStyleWidth: 36, generateLabels: drawLines },
      },
      tooltip: {
        callbacks: {
          title: (items) => `iteration ${items[0].parsed.x}`,
          label: (item) => `${item.dataset.label}: ${picture.write(item.parsed.y)}`,
        },
      },
    },
  };
}

// Takes the colours and the font size from the page's style.
function dress(chart) {
  const text = variable('--quiet'), line = variable('--faint');
  const size = 0.85 * parseFloat(getComputedStyle(document.body).fontSize);
  chart.options.font = { size };
  chart.options.color = text;
  for (const axis of ['x', 'y']) {
    const scale = chart.options.scales[axis];
    scale.grid = { color: line };
    scale.ticks.color = text;
    scale.ticks.font = { size };
    if (scale.title) Object.assign(scale.title, { color: text, font: { size } });
  }
  const labels = chart.options.plugins.legend.labels;
  labels.color = variable('--text');
  labels.font = { size };
  for (const set of chart.data.datasets) {
    set.borderColor = set.backgroundColor = variable(set.colour);
  }
}

function chartOf(name) {
  if (shown.has(name)) return shown.get(name);
  const picture = pictures[name];
  const chart = new Chart(byId(name), { type: 'line', data: { datasets: picture.series.map(dataset) }, options: options(picture) });
  dress(chart);
  shown.set(name, chart);
  return chart;
}

// Puts points into a chart. Marks are shown only for few points: many would smear.
function draw(name, x, curves) {
  const chart = chartOf(name);
  const { write } = pictures[name];
  for (const set of chart.data.datasets) {
    set.data = x.map((iteration, i) => ({ x: iteration, y: curves[set.key][i] })).filter((point) => point.y !== null);
    set.pointRadius = set.data.length <= 24 ? 4 : set.data.map((_, i) => (i % Math.ceil(set.data.length / 8) === 0 ? 4 : 0));
  }
  const told = chart.data.datasets.filter((set) => set.data.length)
    .map((set) => `${set.label} ${write(set.data[0].y)} at first, ${write(set.data[set.data.length - 1].y)} now`);
  byId(name).setAttribute('aria-label', `Curve over ${x.length ? x[x.length - 1] + 1 : 0} iterations: ${told.join('; ')}`);
  chart.update('none');
}

// The only point of a curve, in words.
function values(name, curves) {
  const { series, write } = pictures[name];
  return series.map(([key, label]) => (series.length > 1 ? `${label} ${write(curves[key][0])}` : write(curves[key][0]))).join(', ');
}

// In place of a curve with fewer than two points, says what will come: an empty grid tells nothing.
function explain(name, points, words) {
  const empty = byId(`${name}-empty`);
  empty.hidden = points > 1;
  byId(name).classList.toggle('empty', points <= 1);
  setText(empty, points > 1 ? '' : words());
}

let state = null;
let drawn = null;

function explainAll() {
  if (state === null || drawn === null) return;
  const points = drawn.iteration.length, measured = drawn.quality.length;
  for (const name of ['loss', 'right', 'speed']) explain(name, points, () => curveWords(state, points, points ? values(name, drawn) : ''));
  byId('quality-section').hidden = measured === 0 && state.quality_expected.state === 'off';
  explain('quality', measured, () => qualityWords(state, measured ? [drawn.quality_iteration[0], drawn.quality[0]] : null));
}

export function update(curves) {
  drawn = curves;
  for (const name of ['loss', 'right', 'speed']) draw(name, curves.iteration, curves);
  draw('quality', curves.quality_iteration, curves);
  explainAll();
}

// Takes the state of the run: the text in place of a missing curve depends on it.
export function expect(newest) {
  state = newest;
  explainAll();
}

// Empties all curves: another run will be shown.
export function forget() {
  state = drawn = null;
  for (const [name, chart] of shown) {
    for (const set of chart.data.datasets) set.data = [];
    explain(name, 0, () => '');
    chart.update('none');
  }
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const chart of shown.values()) {
    dress(chart);
    chart.update('none');
  }
});
