// The open chat, or a fresh one.

import { useEffect, useState } from 'react';

import { sentenceOf } from '../api/problem';
import { Chat } from '../chat/Chat';
import type { Draft } from '../chat/draft';
import { type Conversation, loadConversation } from '../chat/load';
import { Welcome } from '../chat/Welcome';
import type { SessionSummary } from '../sessions/sessions';

interface Props {
  session: string | undefined;
  summary: SessionSummary | undefined;
  /** The message that a chat was made for. */
  first: { session: string; draft: Draft } | undefined;
  begin: (draft: Draft) => Promise<void>;
  onOpened: (opened: { session: string; title: string | undefined }) => void;
  onChange: () => void;
  onReset: () => void;
}

export function Main({ session, first, begin, ...rest }: Props) {
  if (session === undefined) {
    return (
      <main className="chat" id="main">
        <Welcome begin={begin} />
      </main>
    );
  }
  const draft = first?.session === session ? first.draft : undefined;
  return (
    <main className="chat" id="main">
      <Loaded key={session} session={session} draft={draft} {...rest} />
    </main>
  );
}

interface LoadedProps extends Omit<Props, 'session' | 'first' | 'begin'> {
  session: string;
  draft: Draft | undefined;
}

function Loaded({ session, draft, onOpened, ...rest }: LoadedProps) {
  const [begins, setBegins] = useState<Conversation>();
  const [problem, setProblem] = useState<unknown>();
  const [tries, setTries] = useState(0);

  useEffect(() => {
    const left = new AbortController();
    setProblem(undefined);
    loadConversation(session, left.signal).then(
      (conversation) => {
        if (left.signal.aborted) return;
        setBegins(conversation);
        onOpened({ session, title: conversation.title });
      },
      (error: unknown) => {
        if (!left.signal.aborted) setProblem(error);
      },
    );
    return () => left.abort();
  }, [session, tries, onOpened]);

  if (problem !== undefined) {
    return (
      <div className="empty" role="alert">
        <p>{sentenceOf(problem)}</p>
        <button type="button" onClick={() => setTries(tries + 1)}>
          Try again
        </button>
      </div>
    );
  }
  if (!begins) return <div className="empty" aria-busy="true" />;
  return <Chat session={session} begins={begins} draft={draft} {...rest} />;
}
