// How far back a conversation is shown: the newest stretch, and those before it that the user has looked at.

import type { UIMessage } from 'ai';
import { useCallback, useRef, useState } from 'react';

import { loadStretch, renewed, type Stretch } from './load';

interface Parts {
  setMessages: (change: (now: UIMessage[]) => UIMessage[]) => void;
  /** Aborted when the chat is closed. */
  left: AbortSignal;
  onProblem: (problem: unknown) => void;
}

export function useEarlier(id: string, begins: Stretch, { setMessages, left, onProblem }: Parts) {
  const [before, setBefore] = useState(begins.before);
  const known = useRef(before);
  known.current = before;

  /** What the API has of the newest stretch. */
  const renew = useCallback(
    (newest: Stretch) =>
      setMessages((messages) => {
        const next = renewed({ messages, before: known.current }, newest);
        setBefore(next.before);
        return next.messages;
      }),
    [setMessages],
  );

  const loadEarlier = useCallback(async () => {
    try {
      const stretch = await loadStretch(id, known.current, left);
      setMessages((now) => [...stretch.messages, ...now]);
      setBefore(stretch.before);
    } catch (problem) {
      if (!left.aborted) onProblem(problem);
    }
  }, [id, setMessages, left, onProblem]);

  return { renew, loadEarlier: before === undefined ? undefined : loadEarlier };
}
