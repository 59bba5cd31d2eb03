// Which member of the class the visitor is: a choice that stays in this browser and is sent to nobody.

import { byId, count, make, percent, setText } from './text.js';

const KEY = 'gannsfriends.me';
const select = byId('me');

let name = load();
let known = null; // {run, member} of it, while this page is open: a member with a new nickname stays marked
let members = [];

function load() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser without storage: the choice lasts while the page is open
  }
}

function keep(wanted) {
  name = wanted;
  try {
    if (name === null) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, name);
  } catch {
    // as above
  }
}

// Tells whether a member is the visitor.
export const isMe = (member) => name !== null && member.name === name;

function follow(state) {
  const renamed = known?.run === state.run && !members.some(isMe) && members.find((one) => one.member === known.member);
  if (renamed) keep(renamed.name);
  const me = members.find(isMe);
  if (me) known = { run: state.run, member: me.member };
}

function updateOptions() {
  const names = members.map((member) => member.name).sort((a, b) => a.localeCompare(b));
  if (name !== null && !names.includes(name)) names.push(name);
  const wanted = ['', ...names];
  while (select.options.length > wanted.length) select.lastChild.remove();
  wanted.forEach((one, i) => {
    if (!select.options[i]) select.append(make('option'));
    setText(select.options[i], one === '' ? 'nobody' : one);
    select.options[i].value = one;
  });
  select.value = name ?? '';
}

function describe(all) {
  const place = members.findIndex(isMe);
  if (name === null) return '';
  if (place < 0) return `${name} does not take part in this run.`;
  const { images } = members[place];
  return `You are number ${count(place + 1)}: ${count(images)} images${all > 0 ? `, ${percent(images / all)} of all` : ''}.`;
}

export function update(state) {
  members = state.class.members;
  follow(state);
  byId('me-line').hidden = members.length === 0;
  updateOptions();
  setText(byId('me-note'), describe(state.class.images));
}

// Calls changed() when another name is chosen.
export function onChange(changed) {
  select.addEventListener('change', () => {
    known = null;
    keep(select.value === '' ? null : select.value);
    changed();
  });
}
