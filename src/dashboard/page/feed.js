// The stream of events, and addresses: a token in the page's address goes along with every request.

const parameters = new URLSearchParams(location.search);
const token = parameters.get('token');

export const projector = parameters.has('projector');

function address(path, query = {}) {
  const all = new URLSearchParams(query);
  if (token !== null) all.set('token', token);
  const text = all.toString();
  return text ? `${path}?${text}` : path;
}

// After a rollback an iteration may have another sheet: the browser is not to take the one for the other.
export const sheetAddress = (run, branch, iteration) => address(`sheet/${run}/${iteration}.png`, branch > 0 ? { branch } : {});

// The run that the page's address names, or null.
export function namedRun() {
  const run = Number(parameters.get('run'));
  return Number.isInteger(run) && run > 0 ? run : null;
}

// The address of this page with other parameters (null: without).
export function pageAddress(changes) {
  const all = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) all.delete(name);
    else all.set(name, value);
  }
  return `?${all}`.replace(/=(?=&|$)/g, '');
}

let source = null;
let again = null;

// Opens the stream of a run (null: only the list of runs), and again whenever it ends. handlers: by event; open() and lost() for the stream
// itself.
export function open(run, handlers) {
  clearTimeout(again);
  source?.close();
  source = new EventSource(address('events', run === null ? {} : { run }));
  source.onopen = handlers.open;
  source.onerror = () => {
    handlers.lost();
    // A refusal (a proxy's 502, a limit) ends an EventSource for good; a broken connection it mends itself.
    if (source.readyState === EventSource.CLOSED) again = setTimeout(() => open(run, handlers), 3000 + 4000 * Math.random());
  };
  for (const name of ['runs', 'state', 'curves', 'trouble']) {
    source.addEventListener(name, (event) => handlers[name](JSON.parse(event.data)));
  }
}
