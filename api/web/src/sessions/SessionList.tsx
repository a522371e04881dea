// The user's chats, the newest first, each with what it is doing.

import { useState } from 'react';
import { flushSync } from 'react-dom';

import { RenameForm } from './RenameForm';
import { More } from '../page/More';
import { rename, type SessionSummary } from './sessions';
import type { Sessions } from './useSessions';

interface Props {
  sessions: Sessions;
  current: string | undefined;
  onOpen: (id: string | undefined) => void;
  attempt: (act: () => Promise<void>) => Promise<void>;
  onProblem: (problem: unknown) => void;
}

export const UNNAMED = 'New chat';

const titleOf = ({ title }: SessionSummary) => title ?? UNNAMED;

export function SessionList({ sessions, current, onOpen, attempt, onProblem }: Props) {
  const { value, more, remove } = sessions;
  const [renaming, setRenaming] = useState<string>();

  function onDelete(session: SessionSummary) {
    if (!confirm(`Delete “${titleOf(session)}”? Its messages are gone for good.`)) return;
    // It is closed before it is gone, and so asks for nothing that is not there any more.
    if (session.id === current) flushSync(() => onOpen(undefined));
    void attempt(() => remove(session.id));
  }

  return (
    <ul className="sessions scrolls">
      {value?.sessions.map((session) => (
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
      {more && value && (
        <li>
          <More name="Older chats" count={value.sessions.length} onMore={() => more().catch(onProblem)} />
        </li>
      )}
    </ul>
  );
}
