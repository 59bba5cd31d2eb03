// The state of the run in words: what is happening, since when, and what to do.

import { byId, moment, setText } from './text.js';

const since = { created: 'Created', paused: 'Paused', finished: 'Finished', stopped: 'Stopped' };

// Shows a sentence, or hides its place.
function say(id, text) {
  byId(id).hidden = !text;
  setText(byId(id), text ?? '');
}

function advice(state) {
  const when = state.since && since[state.state] ? `${since[state.state]} ${moment(new Date(state.since))}.` : '';
  return [when, state.advice].filter(Boolean).join(' ');
}

export function update(state) {
  setText(byId('happening'), state.happening);
  say('advice', advice(state));
  say('notice', state.notice);
}

// Says that there is nothing to show, and what to do.
export function nothing(happening, todo) {
  setText(byId('happening'), happening);
  say('advice', todo);
  say('notice', null);
}

// The reason why the page is not up to date, if there is one.
export function trouble(text) {
  say('trouble', text);
}
