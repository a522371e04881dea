// A conversation that goes on.

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';

import { focusIfKeyboard } from '../page/focus';
import type { SessionSummary } from '../sessions/sessions';
import { wireLog } from '../wire/log';
import { Announcer } from './Announcer';
import { Composer } from './Composer';
import type { Draft } from './draft';
import type { Conversation } from './load';
import { Log } from './Log';
import { Notice } from './Notice';
import { Queue } from './Queue';
import { useConversation } from './useConversation';
import { textOf } from './visible';

interface Props {
  session: string;
  summary: SessionSummary | undefined;
  begins: Conversation;
  /** The message that the chat was made for. */
  draft: Draft | undefined;
  onChange: () => void;
  onReset: () => void;
}

const connectionOf = () => wireLog.get().connection;

export function Chat({ session, summary, begins, draft, onChange, onReset }: Props) {
  const chat = useConversation(session, begins, onChange);
  const { messages, busy, problem, send, sync, attempt, dismiss, regenerate, loadEarlier } = chat;
  const connection = useSyncExternalStore(wireLog.watch, connectionOf);
  const box = useRef<HTMLTextAreaElement>(null);
  const [suggested, setSuggested] = useState<Draft>();

  const began = useRef(false);
  useEffect(() => {
    if (began.current) return;
    began.current = true;
    focusIfKeyboard(box.current);
    if (draft && begins.messages.length === 0 && !begins.active) void send(draft, 'enqueue');
  }, [draft, begins, send]);

  // Another tab has sent something, or an answer has ended that nobody here followed.
  const seen = useRef<string>(undefined);
  useEffect(() => {
    // One that is no longer listed may be gone.
    if (!summary) return;
    const state = `${summary.updated_at} ${summary.is_processing}`;
    if (state === seen.current) return;
    const known = seen.current !== undefined;
    seen.current = state;
    if (known && !busy) void sync();
  }, [summary, busy, sync]);

  const onSuggest = useCallback((text: string) => {
    setSuggested({ text, files: [] });
    box.current?.focus();
  }, []);

  const onRetry = useCallback(() => {
    // Where the server could not be reached, there may be nothing that failed.
    if (!(problem instanceof TypeError)) return regenerate();
    dismiss();
    void sync();
  }, [problem, regenerate, dismiss, sync]);

  const last = messages.at(-1);
  return (
    <>
      <Log messages={messages} streaming={busy} onSuggest={onSuggest} onEarlier={loadEarlier}>
        {busy && last?.role !== 'assistant' && <p className="pending faint">{waitingFor(chat.position)}</p>}
        {busy && connection === 'reconnecting' && (
          <p className="pending faint" role="status">
            The connection is lost, and nothing else. Reconnecting…
          </p>
        )}
        {!busy && last?.role === 'assistant' && problem === undefined && (
          <div className="row after">
            <button type="button" className="quiet small" onClick={regenerate}>
              Answer again
            </button>
          </div>
        )}
      </Log>
      <Announcer busy={busy} text={last?.role === 'assistant' ? textOf(last) : ''} />
      <div className="foot">
        <Queue session={session} queue={chat.queue} attempt={attempt} refresh={chat.refreshQueue} />
        {problem !== undefined && (
          <Notice problem={problem} onDismiss={dismiss} onRetry={onRetry} onReset={onReset} />
        )}
        <Composer
          busy={busy}
          suggested={suggested}
          returned={chat.unsent}
          box={box}
          onSend={send}
          onStop={() => void chat.stop()}
        />
      </div>
    </>
  );
}

function waitingFor(position: number | undefined): string {
  return position === undefined ? 'Thinking…' : `Waiting, place ${position}…`;
}
