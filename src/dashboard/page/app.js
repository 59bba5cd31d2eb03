// The page: takes events and hands them on.

import { byId, make, setText } from './text.js';
import * as feed from './feed.js';
import * as film from './film.js';
import * as tiles from './tiles.js';
import * as curves from './curves.js';
import * as group from './class.js';

const ANNOUNCE_MS = 30000; // how often a screen reader is told what is happening

let run = feed.namedRun();
let chosen = run !== null; // by the address or by hand
let announced = 0;
let connected = false;
let trouble = null;

// What keeps the page from being up to date, if anything.
function showTrouble() {
  const text = !connected ? 'The connection is lost. Trying again.' : trouble;
  byId('trouble').hidden = text === null;
  setText(byId('trouble'), text ?? '');
}

// Running runs first, the newest of them: what a page shows that was not told.
function choose(runs) {
  const rank = { running: 3, paused: 2, created: 1 };
  return [...runs].sort((a, b) => (rank[b.state] ?? 0) - (rank[a.state] ?? 0) || b.run - a.run)[0]?.run ?? null;
}

function follow(wanted) {
  run = wanted;
  film.forget();
  curves.forget();
  feed.open(run, handlers);
}

function updateRuns(runs) {
  const select = byId('run');
  while (select.options.length > runs.length) select.lastChild.remove();
  runs.forEach((one, i) => {
    if (!select.options[i]) select.append(make('option'));
    setText(select.options[i], `${one.name} (${one.state})`);
    select.options[i].value = String(one.run);
  });
  if (run === null || (!chosen && !runs.some((one) => one.run === run))) {
    const best = choose(runs);
    if (best !== null && best !== run) follow(best);
  }
  if (run !== null) select.value = String(run);
  if (!runs.length) setText(byId('happening'), 'There is no run yet');
  else if (!runs.some((one) => one.run === run)) setText(byId('happening'), `There is no run ${run}`);
}

function updateState(state) {
  if (state.run !== run) return;
  setText(byId('happening'), state.happening);
  document.title = `${state.name}: iteration ${state.iteration}`;
  if (performance.now() > announced + ANNOUNCE_MS || announced === 0) {
    announced = performance.now();
    setText(byId('announcement'), state.happening);
  }
  film.update(state);
  tiles.update(state);
  group.update(state);
}

const handlers = {
  open() {
    connected = true;
    trouble = null; // a server in trouble says so first
    showTrouble();
  },
  lost() {
    connected = false;
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

document.documentElement.classList.toggle('projector', feed.projector);
linkProjector();
setText(byId('projector'), feed.projector ? 'Ordinary view' : 'Projector view');
feed.open(run, handlers);
