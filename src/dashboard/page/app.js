// The page: receives events and passes them on.

import { byId, make, moment, setText } from './text.js';
import * as feed from './feed.js';
import * as film from './film.js';
import * as tiles from './tiles.js';
import * as curves from './curves.js';
import * as group from './class.js';
import * as me from './me.js';
import * as status from './status.js';
import { dressHeadings } from './help.js';

const ANNOUNCE_MS = 30000; // how often a screen reader is told what is happening

let run = feed.namedRun();
let chosen = run !== null; // by the address or by hand
let announced = 0;
let lost = null; // why there is no connection to gan_dashboard
let trouble = null; // gan_dashboard's trouble with the database
let current = null; // the newest state
let told = null; // when it arrived

// The reason why the page is not up to date, if there is one.
function showTrouble() {
  const text = lost ?? trouble;
  status.trouble(text === null || told === null ? text : `${text} This page shows the state ${moment(told)}.`);
}

// The run of a page whose visitor has not chosen one: a running one if possible, and the newest of those.
function choose(runs) {
  const rank = { running: 3, paused: 2, created: 1 };
  return [...runs].sort((a, b) => (rank[b.state] ?? 0) - (rank[a.state] ?? 0) || b.run - a.run)[0]?.run ?? null;
}

// Removes everything of a run from the page.
function clear() {
  current = told = null;
  film.forget();
  curves.forget();
  tiles.forget();
  group.forget();
}

// Tells whether a page without a chosen run moves on to the best one: its own is gone, or it is over and the best one is running.
function isLeft(runs, best) {
  const state = (wanted) => runs.find((one) => one.run === wanted)?.state;
  return state(run) === undefined || ((state(run) === 'finished' || state(run) === 'stopped') && state(best) === 'running');
}

function follow(wanted) {
  run = wanted;
  clear();
  feed.open(run, handlers);
}

// Says that the run does not exist, or that there is none at all.
function showNothing(runs) {
  clear();
  document.title = 'GANNs with friends';
  if (runs.length) status.nothing(`There is no run ${run}`, 'It was removed, or the address is wrong. Choose another run from the list.');
  else status.nothing('There is no run yet', 'It appears here as soon as the instructor has created one.');
}

function updateRuns(runs) {
  const select = byId('run');
  while (select.options.length > runs.length) select.lastChild.remove();
  runs.forEach((one, i) => {
    if (!select.options[i]) select.append(make('option'));
    setText(select.options[i], `${one.name} (${one.state})`);
    select.options[i].value = String(one.run);
  });
  const best = choose(runs);
  if (best !== null && best !== run && (run === null || (!chosen && isLeft(runs, best)))) follow(best);
  if (run !== null) select.value = String(run);
  byId('run').disabled = !runs.length;
  if (!runs.some((one) => one.run === run)) showNothing(runs);
}

// Passes the newest state to every part of the page.
function show(state) {
  status.update(state);
  film.update(state);
  me.update(state); // before the parts that mark the visitor
  tiles.update(state);
  group.update(state);
  curves.expect(state);
}

function updateState(state) {
  if (state.run !== run) return;
  current = state;
  told = new Date();
  document.title = `${state.name}: ${state.state === 'running' ? `iteration ${state.iteration}` : state.state}`;
  if (performance.now() > announced + ANNOUNCE_MS || announced === 0) {
    announced = performance.now();
    setText(byId('announcement'), [state.happening, state.notice, state.advice].filter(Boolean).join('. '));
  }
  show(state);
}

const handlers = {
  open() {
    lost = trouble = null; // a server in trouble says so first
    showTrouble();
  },
  lost(why) {
    lost = why;
    showTrouble();
  },
  runs: updateRuns,
  state: updateState,
  curves: curves.update,
  trouble(text) {
    trouble = text;
    showTrouble();
  },
};

function linkProjector() {
  byId('projector').href = feed.pageAddress({ projector: feed.projector ? null : '' });
}

byId('run').addEventListener('change', (event) => {
  chosen = true;
  history.replaceState(null, '', feed.pageAddress({ run: event.target.value }));
  follow(Number(event.target.value));
  linkProjector();
});

me.onChange(() => {
  if (current !== null) show(current);
});

document.documentElement.classList.toggle('projector', feed.projector);
dressHeadings();
linkProjector();
setText(byId('projector'), feed.projector ? 'Ordinary view' : 'Projector view');
feed.open(run, handlers);
