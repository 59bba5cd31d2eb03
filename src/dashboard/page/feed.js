// The stream of events, and addresses: a token in the page's address is sent with every request.

const parameters = new URLSearchParams(location.search);
const token = parameters.get('token');

export const projector = parameters.has('projector');

function address(path, query = {}) {
  const all = new URLSearchParams(query);
  if (token !== null) all.set('token', token);
  const text = all.toString();
  return text ? `${path}?${text}` : path;
}

// After a rollback an iteration may have another sheet: the branch keeps the browser from confusing them.
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

const AWAY = 'The connection to the dashboard is lost. This page tries again by itself.';

let source = null;
let again = null;

// Finds out why a stream was refused: an EventSource doesn't tell.
async function whyRefused(where) {
  try {
    const { status } = await fetch(where, { method: 'HEAD' });
    if (status === 401) return 'The dashboard has another access token now. Ask your instructor for the new address.';
    if (status === 403) return 'The dashboard does not answer at this address. Open the one that gan_dashboard printed.';
    if (status === 503) return 'The dashboard has too many visitors. This page tries again by itself.';
  } catch {
    // it is away
  }
  return AWAY;
}

// Opens the stream of a run (null: only the list of runs), and again whenever it ends. handlers: by event; open() and lost() for the stream
// itself.
export function open(run, handlers) {
  clearTimeout(again);
  source?.close();
  const where = address('events', run === null ? {} : { run });
  const mine = new EventSource(where);
  source = mine;
  source.onopen = handlers.open;
  source.onerror = async () => {
    // A refusal (a proxy's 502, a limit) ends an EventSource for good; after a broken connection it reconnects by itself.
    if (mine.readyState !== EventSource.CLOSED) {
      handlers.lost(AWAY);
      return;
    }
    const why = await whyRefused(where);
    if (source !== mine) return; // another run was chosen meanwhile
    handlers.lost(why);
    again = setTimeout(() => open(run, handlers), 3000 + 4000 * Math.random());
  };
  for (const name of ['runs', 'state', 'curves', 'trouble']) {
    source.addEventListener(name, (event) => handlers[name](JSON.parse(event.data)));
  }
}
