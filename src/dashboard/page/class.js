// The class: figures, pooled computers, and everybody's contribution.

import { byId, count, duration, fixed, make, memory, percent, plural, setText, speed } from './text.js';
import { helpOn } from './help.js';
import { isMe } from './me.js';

const over = (state) => state.state === 'finished' || state.state === 'stopped';

// [key of its help, term, value] for each figure.
function figures(state) {
  const all = [
    ['iteration', `iteration of ${count(state.target)}`, count(state.iteration)],
    ['epoch', 'epoch', fixed(state.epoch, 2)],
    ['loss_d', 'loss of D', fixed(state.loss_d, 3)],
    ['loss_g', 'loss of G', fixed(state.loss_g, 3)],
  ];
  if (!over(state)) {
    all.splice(2, 0, ['images', 'images per second', speed(state.speed.images)], ['rate', 'iterations per minute', speed(state.speed.iterations)]);
  }
  if (state.quality !== undefined && state.quality !== null) all.push(['swd', 'distance from real (SWD)', fixed(state.quality, 1)]);
  if (state.speed.eta !== null && state.speed.eta > 0) all.push(['eta', 'to go', duration(state.speed.eta)]);
  return all;
}

// A figure; its help text appears below the list, where there is room.
function makeFigure(key) {
  const group = make('div');
  const term = make('dt');
  const { button, answer } = helpOn(key);
  term.append(make('span'), ' ', button);
  group.append(term, make('dd'));
  group.dataset.key = key;
  byId('figures-help').append(answer);
  return group;
}

function updateFigures(list, all) {
  const shown = new Map([...list.children].map((group) => [group.dataset.key, group]));
  all.forEach(([key, term, value], i) => {
    const group = shown.get(key) ?? makeFigure(key);
    if (list.children[i] !== group) list.insertBefore(group, list.children[i] ?? null);
    group.hidden = false;
    setText(group.querySelector('dt span'), term);
    setText(group.querySelector('dd'), value);
    shown.delete(key);
  });
  for (const group of shown.values()) group.hidden = true;
}

function doing(member, state) {
  if (over(state)) return `last seen ${duration(member.seen)} ago`;
  if (member.computing) return 'computing';
  return member.active ? 'waiting' : `away for ${duration(member.seen)}`;
}

// [class of the cell, its column's name if there is no head, text]
function cells(member, place, state) {
  const { images } = state.class;
  const share = images > 0 ? percent(member.images / images) : '–';
  return [
    ['place', '', String(place)], ['name', '', isMe(member) ? `${member.name} (you)` : member.name], ['now', '', doing(member, state)],
    ['number', 'images', count(member.images)], ['number', 'share', share], ['number', 'units', count(member.units)], ['number', 'cores', member.gpus > 0 ? `${count(member.cores)}, ${plural(member.gpus, 'GPU')}` : count(member.cores)],
  ];
}

function makeRow(all) {
  const row = make('tr');
  row.setAttribute('role', 'row'); // it stays a row for screen readers when the style turns rows into cards
  for (const [kind, label] of all) {
    const cell = make('td', kind);
    cell.setAttribute('role', 'cell');
    if (label) cell.dataset.label = label;
    row.append(cell);
  }
  return row;
}

function updateRow(body, member, i, state) {
  const all = cells(member, i + 1, state);
  const row = body.children[i] ?? body.appendChild(makeRow(all));
  row.className = [member.active || over(state) ? '' : 'away', isMe(member) ? 'me' : ''].filter(Boolean).join(' ');
  all.forEach(([, , text], n) => setText(row.children[n], text));
}

// Who takes part, in a sentence.
function pooled(state) {
  const group = state.class;
  if (over(state)) return group.joined === 0 ? 'Nobody took part.' : `${plural(group.joined, 'worker')} took part: ${count(group.images)} images together.`;
  if (group.joined === 0) return 'Nobody has joined yet.';
  return `${count(group.active)} of ${plural(group.joined, 'worker')} active, together ${plural(group.cores, 'core')}${group.gpus > 0 ? `, ${plural(group.gpus, 'GPU')}` : ''} and ${memory(group.memory_mb)} of memory.`;
}

export function update(state) {
  const { members } = state.class;
  updateFigures(byId('figures'), figures(state));
  setText(byId('pooled'), pooled(state));
  byId('join').hidden = over(state);
  byId('class-table').hidden = members.length === 0;
  const body = byId('class');
  while (body.children.length > members.length) body.lastChild.remove();
  members.forEach((member, i) => updateRow(body, member, i, state));
}

// Called when another run is shown.
export function forget() {
  byId('class').replaceChildren();
  for (const group of byId('figures').children) setText(group.querySelector('dd'), '–');
  setText(byId('pooled'), '');
  byId('class-table').hidden = byId('join').hidden = byId('me-line').hidden = true;
}
