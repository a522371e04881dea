// Messages that wait behind the running turn: they can be rewritten and dropped.

import { useState } from 'react';

import { Download } from '../page/Download';
import { drop, rewrite, type Waiting } from './queue';

interface Props {
  session: string;
  queue: Waiting[];
  attempt: (act: () => Promise<void>) => Promise<boolean>;
  refresh: () => Promise<void>;
}

export function Queue({ session, queue, attempt, refresh }: Props) {
  const [editing, setEditing] = useState<string>();
  if (queue.length === 0) return null;

  const change = (act: () => Promise<void>) =>
    attempt(async () => {
      try {
        await act();
      } finally {
        setEditing(undefined);
        await refresh();
      }
    });

  return (
    <section className="queue" aria-label="Waiting messages">
      <h2>Waiting</h2>
      <ol>
        {queue.map(({ turn_id: turn, message, files }) => (
          <li key={turn}>
            {editing === turn ? (
              <form
                className="row"
                onKeyDown={({ key }) => {
                  if (key === 'Escape') setEditing(undefined);
                }}
                onSubmit={(event) => {
                  event.preventDefault();
                  const text = new FormData(event.currentTarget).get('text');
                  void change(() => rewrite(session, turn, String(text)));
                }}
              >
                <input name="text" defaultValue={message} aria-label="Waiting message" required autoFocus />
                <button type="submit">Save</button>
                <button type="button" className="quiet" onClick={() => setEditing(undefined)}>
                  Cancel
                </button>
              </form>
            ) : (
              <>
                {files.length > 0 && (
                  <span className="files">
                    {files.map(({ file_id, name, download_url }) => (
                      <Download key={file_id} url={download_url} name={name} />
                    ))}
                  </span>
                )}
                <span className="said">{message}</span>
                <button type="button" className="quiet small" aria-label={`Edit ${message}`} onClick={() => setEditing(turn)}>
                  Edit
                </button>
                <button
                  type="button"
                  className="quiet small"
                  aria-label={`Drop ${message}`}
                  onClick={() => void change(() => drop(session, turn))}
                >
                  Drop
                </button>
              </>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}
