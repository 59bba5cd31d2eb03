// The text in place of a curve or a picture that isn't there yet: what will come, and when.

import { count, duration, fixed } from './text.js';

const over = (state) => state.state === 'finished' || state.state === 'stopped';

// A curve that gets a point with each iteration. values: its only point, in words.
export function curveWords(state, points, values) {
  const soFar = points === 1 ? `After the first iteration: ${values}. ` : '';
  if (over(state)) return `${soFar}The run ended before there was a curve.`;
  if (state.state === 'created') return 'The curve begins when the run has started and two iterations are done.';
  if (state.state === 'paused') return `${soFar}The curve begins when the run continues.`;
  if (points === 0) return 'The curve begins when two iterations are done. The first one is in progress.';
  const pace = state.speed.iterations > 0 ? ` An iteration takes about ${duration(60 / state.speed.iterations)}.` : '';
  return `${soFar}The curve begins when the next one is done.${pace}`;
}

function nextValue(state) {
  const { after, seconds } = state.quality_expected;
  const wait = seconds === null || seconds === undefined ? '' : `in about ${duration(seconds)}`;
  if (state.state === 'paused') return 'The next value comes when the run continues.';
  if (after) return `The next value comes after iteration ${[count(after), wait].filter(Boolean).join(', ')}.`;
  return `The next value comes ${seconds > 0 ? wait : 'with one of the next iterations'}.`;
}

// The distance from real images, which is measured now and then. last: [iteration, value] of the only value, if there is one.
export function qualityWords(state, last) {
  const soFar = last ? `After ${count(last[0])} iterations the distance is ${fixed(last[1], 1)}. ` : '';
  switch (state.quality_expected.state) {
    case 'never': return last ? `${soFar}It was measured once.` : 'The distance was not measured before the run ended.';
    case 'summary': return `${soFar}The distance is measured when a worker has sent a summary of the real images. It does so soon after it joins.`;
    case 'off': return `${soFar}It is no longer measured.`;
    default: return last ? soFar + nextValue(state) : 'The first value comes within a minute.';
  }
}

// The picture.
export function sheetWords(state) {
  if (over(state)) return 'No picture was drawn before the run ended.';
  if (state.state === 'created') return 'The first picture is drawn when the run has started.';
  return 'The server draws the first picture soon after the start.';
}
