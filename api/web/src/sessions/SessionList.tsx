// The user's chats, the newest first, each with what it is doing.

import { useState } from 'react';

import { RenameForm } from './RenameForm';
import { remove, rename, type SessionSummary } from './sessions';

interface Props {
  sessions: SessionSummary[];
  current: string | undefined;
  onOpen: (id: string | undefined) => void;
  attempt: (act: () => Promise<void>) => Promise<void>;
}

export const titleOf = ({ title }: Pick<SessionSummary, 'title'>) => title ?? 'New chat';

export function SessionList({ sessions, current, onOpen, attempt }: Props) {
  const [renaming, setRenaming] = useState<string>();

  function onDelete(session: SessionSummary) {
    if (!confirm(`Delete “${titleOf(session)}”? Its messages are gone for good.`)) return;
    void attempt(async () => {
      await remove(session.id);
      if (session.id === current) onOpen(undefined);
    });
  }

  return (
    <ul className="sessions">
      {sessions.map((session) => (
        <li key={session.id} className={session.id === current ? 'current' : undefined}>
          {renaming === session.id ? (
            <RenameForm
              title={titleOf(session)}
              onCancel={() => setRenaming(undefined)}
              onRename={(title) => {
                setRenaming(undefined);
                void attempt(() => rename(session.id, title));
              }}
            />
          ) : (
            <>
              <a
                href={`?session=${session.id}`}
                aria-current={session.id === current ? 'page' : undefined}
                onClick={(event) => {
                  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                  event.preventDefault();
                  onOpen(session.id);
                }}
              >
                <span className="title">{titleOf(session)}</span>
                {session.is_processing && <span className="live" role="img" aria-label="answering" />}
              </a>
              <span className="acts">
                <button type="button" aria-label={`Rename ${titleOf(session)}`} onClick={() => setRenaming(session.id)}>
                  Rename
                </button>
                <button type="button" aria-label={`Delete ${titleOf(session)}`} onClick={() => onDelete(session)}>
                  Delete
                </button>
              </span>
            </>
          )}
        </li>
      ))}
    </ul>
  );
}
