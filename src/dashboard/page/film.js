// The sheets: shows the newest by itself, any one by the slider, and all of them as a film.

import { byId, count, setText } from './text.js';
import { sheetAddress } from './feed.js';
import { sheetWords } from './expected.js';

const FRAME_MS = 150;
const slider = byId('film-slider');
const play = byId('film-play');
const newest = byId('film-newest');
const image = byId('sheet');

let run = null;
let branch = 0; // how often the run was rolled back
let sheets = [];
let following = true; // shows the newest, whatever comes
let reel = null; // the film that runs: a new object for each
let shown = null; // iteration on the screen
let wanted = null; // the sheet that is loading: a new object for each

// Describes the picture.
function describe() {
  if (shown === null) return;
  const last = sheets[sheets.length - 1];
  const text = `Iteration ${count(shown)}${shown === last ? ', the newest sheet' : `; the newest is from iteration ${count(last)}`}`;
  setText(byId('sheet-caption'), text);
  image.alt = `Sheet of generated images after ${count(shown)} iterations`;
}

// Shows a sheet when it is loaded; resolves then. A sheet that another one overtakes is not shown.
async function show(iteration) {
  const next = new Image();
  const mine = { iteration };
  wanted = mine;
  next.src = sheetAddress(run, branch, iteration);
  try {
    await next.decode();
  } catch {
    if (wanted === mine) wanted = null;
    return;
  }
  if (wanted !== mine) return; // a newer request came, perhaps for another run
  image.src = next.src;
  image.hidden = false;
  byId('no-sheet').hidden = true;
  shown = iteration;
  describe();
}

function place(index) {
  slider.value = String(index);
  slider.setAttribute('aria-valuetext', `iteration ${sheets[index]}`);
  return show(sheets[index]);
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function stopPlaying() {
  reel = null;
  setText(play, 'Play the film');
}

// Shows one sheet after the other, to the one that is the newest now (a class may draw them faster than they are shown); waits for a slow line.
async function playFrom(start) {
  const mine = {};
  const last = sheets[sheets.length - 1];
  reel = mine;
  following = false;
  setText(play, 'Stop the film');
  for (let index = start; index < sheets.length && sheets[index] <= last; index = Number(slider.value) + 1) {
    await Promise.all([place(index), pause(FRAME_MS)]);
    if (reel !== mine) return;
  }
  stopPlaying();
  following = true;
}

slider.addEventListener('input', () => {
  stopPlaying();
  const index = Number(slider.value);
  following = index === sheets.length - 1;
  place(index);
});

play.addEventListener('click', () => {
  if (reel !== null) {
    stopPlaying();
    following = Number(slider.value) === sheets.length - 1;
    return;
  }
  playFrom(Number(slider.value) >= sheets.length - 1 ? 0 : Number(slider.value));
});

newest.addEventListener('click', () => {
  stopPlaying();
  following = true;
  if (sheets.length) place(sheets.length - 1);
});

// Forgets the sheet on the screen: another run will be shown.
export function forget() {
  stopPlaying();
  sheets = [];
  following = true;
  shown = wanted = null;
  image.hidden = true;
  image.removeAttribute('src');
  byId('no-sheet').hidden = false;
  setText(byId('no-sheet'), '');
  setText(byId('sheet-caption'), '');
  for (const control of [slider, play, newest]) control.disabled = true;
}

// Takes the list of sheets.
export function update(state) {
  const before = sheets[Number(slider.value)];
  if (state.branch !== branch) shown = wanted = null; // the sheet on the screen belongs to a branch that was given up
  run = state.run;
  branch = state.branch;
  sheets = state.sheets;
  const any = sheets.length > 0;
  for (const control of [slider, play, newest]) control.disabled = !any;
  slider.max = String(Math.max(0, sheets.length - 1));
  if (!any) setText(byId('no-sheet'), sheetWords(state));
  if (!any) return;
  if (following) {
    if (shown !== sheets[sheets.length - 1] && wanted?.iteration !== sheets[sheets.length - 1]) place(sheets.length - 1);
    else slider.value = String(sheets.length - 1);
  } else {
    // Sheets may have been added and removed: stay at the same picture.
    const index = sheets.findIndex((iteration) => iteration >= before);
    slider.value = String(index < 0 ? sheets.length - 1 : index);
  }
  describe();
}
