// The event stream as it comes over the wire.

import { useLayoutEffect, useRef, useSyncExternalStore } from 'react';

import { wireLog, type Entry } from '../wire/log';
import { dropConnections } from '../wire/resuming';

const WORDS = { idle: 'nothing to follow', open: 'connected', reconnecting: 'reconnecting…' } as const;

function Line({ entry: { kind, text, id } }: { entry: Entry }) {
  if (kind === 'cut' || kind === 'end') return <li className={kind}>{`— ${text} —`}</li>;
  const data = id === undefined ? text : text.split('\n').filter((line) => !line.startsWith('id: ')).join('\n');
  return (
    <li className={kind}>
      {id !== undefined && <div className="id">{`id: ${id}`}</div>}
      {data}
    </li>
  );
}

export function Inspector({ onClose }: { onClose: () => void }) {
  const { entries, connection, cursor } = useSyncExternalStore(wireLog.watch, wireLog.get);
  const box = useRef<HTMLOListElement>(null);

  useLayoutEffect(() => {
    box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [entries]);

  return (
    <aside className="inspector" aria-label="Event stream">
      <header className="row">
        <h2>Event stream</h2>
        <span className={`connection ${connection}`}>{WORDS[connection]}</span>
        <span className="gap" />
        <button type="button" className="quiet small" aria-label="Close event stream" onClick={onClose}>
          ×
        </button>
      </header>
      <dl>
        <dt>Cursor</dt>
        <dd>
          <code data-testid="cursor">{cursor ?? 'none yet'}</code>
        </dd>
      </dl>
      <ol ref={box} tabIndex={0} aria-label="Frames">
        {entries.map((entry) => (
          <Line key={entry.number} entry={entry} />
        ))}
      </ol>
      <footer className="row">
        <button type="button" className="small" disabled={connection !== 'open'} onClick={dropConnections}>
          Drop the connection
        </button>
        <button type="button" className="quiet small" onClick={wireLog.clear}>
          Clear
        </button>
      </footer>
    </aside>
  );
}
