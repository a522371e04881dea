// The user's chats, usage and name. On a phone it is a drawer.

import { useEffect, useRef, useState } from 'react';

import { sentenceOf } from '../api/problem';
import type { Polled } from '../api/usePolled';
import { SessionList } from '../sessions/SessionList';
import type { Sessions } from '../sessions/useSessions';
import { UsageBars } from '../usage/UsageBars';
import type { UsageStatus } from '../usage/usage';
import { Account } from './Account';

interface Props {
  sessions: Sessions;
  usage: Polled<UsageStatus>;
  current: string | undefined;
  /** Matters on a phone only. */
  open: boolean;
  onOpen: (id: string | undefined) => void;
  onReset: () => void;
  onClose: () => void;
  onChange: () => void;
}

export function Sidebar({ sessions, usage, current, open, onOpen, onReset, onClose, onChange }: Props) {
  const newChat = useRef<HTMLButtonElement>(null);
  const [problem, setProblem] = useState<unknown>();

  useEffect(() => {
    if (open) newChat.current?.focus();
  }, [open]);

  async function attempt(act: () => Promise<void>) {
    setProblem(undefined);
    try {
      await act();
    } catch (error) {
      setProblem(error);
    }
    onChange();
  }

  const trouble = problem ?? sessions.error;
  return (
    <>
      <nav
        className="sidebar"
        aria-label="Chats"
        onKeyDown={({ key }) => {
          if (key === 'Escape') onClose();
        }}
      >
        <div className="row">
          <h1>Copilot</h1>
          <span className="gap" />
          <button type="button" ref={newChat} onClick={() => onOpen(undefined)}>
            New chat
          </button>
        </div>
        {trouble !== undefined && (
          <p className="bad" role="alert">
            {sentenceOf(trouble)}
          </p>
        )}
        {sessions.value?.total === 0 && <p className="faint">No chats yet.</p>}
        <SessionList sessions={sessions} current={current} onOpen={onOpen} attempt={attempt} onProblem={setProblem} />
        <footer>
          {usage.value && <UsageBars usage={usage.value} onReset={onReset} />}
          {usage.error !== undefined && <p className="faint">Usage: {sentenceOf(usage.error)}</p>}
          <Account />
        </footer>
      </nav>
      <button type="button" className="backdrop" aria-label="Close the list of chats" tabIndex={-1} onClick={onClose} />
    </>
  );
}
