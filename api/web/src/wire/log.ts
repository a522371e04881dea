// What went over the wire, for the panel that shows it.

export type EntryKind = 'request' | 'frame' | 'comment' | 'cut' | 'end';

export interface Entry {
  number: number;
  kind: EntryKind;
  text: string;
  /** The cursor that the frame gave. */
  id?: string;
}

export type Connection = 'idle' | 'open' | 'reconnecting';

export interface Wire {
  entries: readonly Entry[];
  connection: Connection;
  cursor: string | undefined;
}

/** More would only slow the page. */
const KEPT = 500;

let wire: Wire = { entries: [], connection: 'idle', cursor: undefined };
let count = 0;
let told = false;
const watchers = new Set<() => void>();

function change(next: Partial<Wire>) {
  wire = { ...wire, ...next };
  if (told) return;
  told = true;
  // Many frames come at once; the page is drawn once for all of them.
  setTimeout(() => {
    told = false;
    for (const watcher of watchers) watcher();
  }, 50);
}

export const wireLog = {
  get: () => wire,
  watch(watcher: () => void) {
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  },
  note(kind: EntryKind, text: string, id?: string) {
    count += 1;
    const entry: Entry = { number: count, kind, text, ...(id === undefined ? {} : { id }) };
    const entries = [...wire.entries.slice(1 - KEPT), entry];
    change(id === undefined ? { entries } : { entries, cursor: id });
  },
  connection(connection: Connection) {
    change({ connection });
  },
  clear() {
    change({ entries: [], cursor: undefined });
  },
};
