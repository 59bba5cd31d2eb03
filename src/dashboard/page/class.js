// The class: figures, what is pooled, and who did how much.

import { byId, count, duration, fixed, make, memory, percent, plural, setText, speed } from './text.js';

// [term, value] for each figure that there is.
function figures(state) {
  const all = [
    [`iteration of ${count(state.target)}`, count(state.iteration)],
    ['epoch', fixed(state.epoch, 2)],
    ['images per second', speed(state.speed.images)],
    ['iterations per minute', speed(state.speed.iterations)],
    ['loss of D', fixed(state.loss_d, 3)],
    ['loss of G', fixed(state.loss_g, 3)],
  ];
  if (state.quality !== undefined && state.quality !== null) all.push(['distance from real (SWD)', fixed(state.quality, 1)]);
  if (state.speed.eta !== null && state.speed.eta > 0) all.push(['to go', duration(state.speed.eta)]);
  return all;
}

function updateFigures(list, all) {
  while (list.children.length > all.length) list.lastChild.remove();
  all.forEach(([term, value], i) => {
    if (!list.children[i]) {
      const group = make('div');
      group.append(make('dt'), make('dd'));
      list.append(group);
    }
    setText(list.children[i].firstChild, term);
    setText(list.children[i].lastChild, value);
  });
}

function doing(member) {
  if (member.computing) return 'computing';
  return member.active ? 'waiting' : `away for ${duration(member.seen)}`;
}

function updateRow(row, member, place, images) {
  const share = images > 0 ? percent(member.images / images) : '–';
  const cells = [String(place), member.name, doing(member), count(member.images), share, count(member.units), count(member.cores)];
  const kinds = ['', 'name', '', 'number', 'number', 'number wide', 'number wide'];
  row.className = member.active ? '' : 'away';
  if (!row.children.length) kinds.forEach((kind) => row.append(make('td', kind)));
  cells.forEach((text, i) => setText(row.children[i], text));
}

export function update(state) {
  const group = state.class;
  updateFigures(byId('figures'), figures(state));
  const pooled = `together ${plural(group.cores, 'core')} and ${memory(group.memory_mb)} of memory`;
  setText(byId('pooled'), group.joined === 0 ? 'Nobody has joined yet: gan_worker does.'
    : `${count(group.active)} of ${plural(group.joined, 'worker')} active, ${pooled}.`);
  const body = byId('class');
  while (body.children.length > group.members.length) body.lastChild.remove();
  group.members.forEach((member, i) => {
    if (!body.children[i]) body.append(make('tr'));
    updateRow(body.children[i], member, i + 1, group.images);
  });
}
