// The units of the current iteration, as tiles that fill.

import { byId, count, duration, make, plural, setText } from './text.js';
import { isMe } from './me.js';

const NAMED_MOST = 48; // with more units tiles are small and have no names
const TILES_MOST = 1024; // with more units there is only the bar

const kinds = { f: 'free', c: 'claimed', d: 'done', a: 'aside' };
const signs = { free: '', claimed: '…', done: '✓', aside: '!' };

// Words and a sign say the same as the colours.
function describe(kind, name, seconds) {
  if (kind === 'free') return ['–', 'free'];
  if (kind === 'aside') return ['–', '! set aside'];
  if (kind === 'done') return [name, '✓ done'];
  return [name, seconds < 1 ? 'computing' : `computing, ${duration(seconds)}`];
}

// An estimate of how much of a unit in progress is done, by its worker's usual time; full only when it is submitted.
function filled(seconds, usual) {
  return usual > 0 ? Math.min(0.92, Math.max(0.05, seconds / usual)) : 0.5;
}

function fill(tile, kind, member, seconds, usual, many) {
  const mine = member !== undefined && isMe(member) && (kind === 'claimed' || kind === 'done');
  const [who, what] = describe(kind, mine ? `${member.name} (you)` : member?.name ?? 'somebody', seconds);
  const className = `tile ${kind}${mine ? ' me' : ''}`;
  if (tile.className !== className) {
    tile.className = className;
    tile.replaceChildren(...(kind === 'claimed' ? [make('b')] : []), make('span', 'who'), make('span', 'what'));
  }
  if (kind === 'claimed') tile.firstChild.style.setProperty('--filled', filled(seconds, usual).toFixed(3));
  setText(tile.querySelector('.who'), many ? `${who} ${what}` : who);
  setText(tile.querySelector('.what'), many ? signs[kind] : what);
  tile.title = `${who}: ${what}`;
}

function updateTiles(list, units, members) {
  const { states } = units;
  const many = states.length > NAMED_MOST;
  list.classList.toggle('many', many);
  while (list.children.length > states.length) list.lastChild.remove();
  while (list.children.length < states.length) list.append(make('li'));
  for (let i = 0; i < states.length; i++) {
    const [seconds, usual] = units.work[i] ?? [0, null];
    fill(list.children[i], kinds[states[i]], members.get(units.members[i]), seconds, usual, many);
  }
}

// Who computes how many units, if tiles have no room for names.
function whoComputes(units, members) {
  const held = new Map();
  [...units.states].forEach((letter, i) => {
    if (kinds[letter] === 'claimed') held.set(units.members[i], (held.get(units.members[i]) ?? 0) + 1);
  });
  if (!held.size) return '';
  const most = [...held].sort((a, b) => b[1] - a[1]);
  const named = most.slice(0, NAMED_MOST).map(([member, many]) => `${members.get(member)?.name ?? 'somebody'} (${count(many)})`);
  return ` Computing: ${named.join(', ')}${most.length > NAMED_MOST ? ' and others' : ''}.`;
}

// The text in place of units if there are none to compute.
const without = {
  created: 'The units of the first iteration appear when the run starts.',
  paused: 'No unit is given out while the run is paused.',
  finished: 'Nothing is being computed: all iterations are done.',
  stopped: 'Nothing is being computed: the run was stopped.',
  running: 'No units are open.',
};

// In a run that is over, unfinished units don't matter.
const unitsOf = (state) => (state.state === 'running' || state.state === 'paused' ? state.units : { ...state.units, states: '', again: 0 });

function note(state, units, total, members) {
  if (!total) return without[state.state];
  const again = units.again ? ` ${plural(units.again, 'unit was', 'units were')} given out again.` : '';
  const size = units.least === units.most ? plural(units.least ?? 0, 'image') : `${count(units.least)} to ${plural(units.most, 'image')}`;
  return `A unit is ${size}.${again}${units.states.length > NAMED_MOST ? whoComputes(units, members) : ''}`;
}

export function update(state) {
  const units = unitsOf(state);
  const total = [...units.states].filter((letter) => letter !== 'a').length;
  const done = [...units.states].filter((letter) => letter === 'd').length;
  const members = new Map(state.class.members.map((member) => [member.member, member]));
  byId('progress-line').hidden = byId('legend').hidden = !total;
  byId('progress').value = total ? done / total : 0;
  setText(byId('progress-text'), total ? `${count(done)} of ${plural(total, 'unit')} done` : '');
  if (units.states.length <= TILES_MOST) updateTiles(byId('tiles'), units, members);
  else byId('tiles').replaceChildren();
  setText(byId('tiles-note'), note(state, units, total, members));
}

// Called when another run is shown.
export function forget() {
  byId('tiles').replaceChildren();
  byId('progress-line').hidden = byId('legend').hidden = true;
  setText(byId('tiles-note'), '');
}
