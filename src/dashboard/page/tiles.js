// The units of the current iteration, as tiles that fill.

import { byId, count, duration, make, plural, setText } from './text.js';

const NAMED_MOST = 48; // beyond that tiles are small and have no names on them
const TILES_MOST = 1024; // beyond that there is the bar alone

const kinds = { f: 'free', c: 'claimed', d: 'done', a: 'aside' };
const signs = { free: '', claimed: '…', done: '✓', aside: '!' };

// Words and a sign say what the colours say.
function describe(kind, name, seconds) {
  if (kind === 'free') return ['–', 'free'];
  if (kind === 'aside') return ['–', '! put aside'];
  if (kind === 'done') return [name, '✓ in'];
  return [name, seconds < 1 ? 'computing' : `computing, ${duration(seconds)}`];
}

// How much of a unit in work may be done, by what its worker usually takes; it is full only when it is in.
function filled(seconds, usual) {
  return usual > 0 ? Math.min(0.92, Math.max(0.05, seconds / usual)) : 0.5;
}

function fill(tile, kind, name, seconds, usual, many) {
  const [who, what] = describe(kind, name, seconds);
  const className = `tile ${kind}`;
  if (tile.className !== className) {
    tile.className = className;
    tile.replaceChildren(...(kind === 'claimed' ? [make('b')] : []), make('span', 'who'), make('span', 'what'));
  }
  if (kind === 'claimed') tile.firstChild.style.setProperty('--filled', filled(seconds, usual).toFixed(3));
  setText(tile.querySelector('.who'), many ? `${who} ${what}` : who);
  setText(tile.querySelector('.what'), many ? signs[kind] : what);
  tile.title = `${who}: ${what}`;
}

function updateTiles(list, units, names) {
  const { states } = units;
  const many = states.length > NAMED_MOST;
  list.classList.toggle('many', many);
  while (list.children.length > states.length) list.lastChild.remove();
  while (list.children.length < states.length) list.append(make('li'));
  for (let i = 0; i < states.length; i++) {
    const [seconds, usual] = units.work[i] ?? [0, null];
    fill(list.children[i], kinds[states[i]], names.get(units.members[i]) ?? 'somebody', seconds, usual, many);
  }
}

// Who has units in work and how many, where tiles have no room for names.
function whoComputes({ states, members }, names) {
  const units = new Map();
  for (let i = 0; i < states.length; i++) {
    if (kinds[states[i]] === 'claimed') units.set(members[i], (units.get(members[i]) ?? 0) + 1);
  }
  if (!units.size) return '';
  const most = [...units].sort((a, b) => b[1] - a[1]);
  const named = most.slice(0, NAMED_MOST).map(([member, many]) => `${names.get(member) ?? 'somebody'} (${count(many)})`);
  return ` In work: ${named.join(', ')}${most.length > NAMED_MOST ? ' and others' : ''}.`;
}

export function update(state) {
  const { units } = state;
  const total = [...units.states].filter((letter) => letter !== 'a').length;
  const done = [...units.states].filter((letter) => letter === 'd').length;
  const names = new Map(state.class.members.map((member) => [member.member, member.name]));
  byId('progress').value = total ? done / total : 0;
  setText(byId('progress-text'), total ? `${count(done)} of ${plural(total, 'unit')} in` : 'no units are open');
  if (units.states.length <= TILES_MOST) updateTiles(byId('tiles'), units, names);
  else byId('tiles').replaceChildren();
  const again = units.again ? ` ${plural(units.again, 'unit was', 'units were')} given out again.` : '';
  const size = units.least === units.most ? plural(units.least ?? 0, 'image') : `${count(units.least)} to ${plural(units.most, 'image')}`;
  setText(byId('tiles-note'), total ? `A unit is ${size}.${again}${units.states.length > NAMED_MOST ? whoComputes(units, names) : ''}` : '');
}
