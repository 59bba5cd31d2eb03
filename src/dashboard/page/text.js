// Numbers and names as text. Everything from outside goes into the page through these functions: as text, never as markup.

export const byId = (id) => document.getElementById(id);

// Sets an element's text, unless it has this text already, so that a selection in it survives.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Makes an element of a class with a text.
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const count = (n) => (n < 100000 ? whole : short).format(n);
export const plural = (n, one, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`;
export const fixed = (n, digits) => (n === null || n === undefined ? '–' : n.toFixed(digits));
export const percent = (share, digits = 0) => (share === null || share === undefined ? '–' : `${(100 * share).toFixed(digits)} %`);
export const speed = (n) => (n === null || n === undefined ? '–' : n < 10 ? n.toFixed(1) : whole.format(n));

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const calendar = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long' });

// A moment by the visitor's own clock: "at 14:05", "on 3 May at 14:05".
export function moment(date) {
  const today = date.toDateString() === new Date().toDateString();
  return `${today ? '' : `on ${calendar.format(date)} `}at ${clock.format(date)}`;
}

// A length of time in its largest unit: "12 s", "4 min", "3 h", "2 days".
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function memory(megabytes) {
  return megabytes < 1024 ? `${megabytes} MB` : `${whole.format(megabytes / 1024)} GB`;
}
