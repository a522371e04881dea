// Keeps a chat in step with what the API knows: after each answer, when another tab has spoken, at the beginning.

import type { UIMessage } from 'ai';
import { type RefObject, useCallback, useEffect, useRef } from 'react';

import { loadConversation } from './load';

interface Parts {
  setMessages: (messages: UIMessage[]) => void;
  resumeStream: () => Promise<void>;
  refreshQueue: () => Promise<void>;
  isBusy: RefObject<boolean>;
  onProblem: (problem: unknown) => void;
}

/** `active` is whether something was in flight when the chat was opened. */
export function useSync(id: string, active: boolean, parts: Parts) {
  const { setMessages, resumeStream, refreshQueue, isBusy, onProblem } = parts;
  const syncing = useRef(false);

  const sync = useCallback(async () => {
    if (syncing.current || isBusy.current) return;
    syncing.current = true;
    try {
      const [known] = await Promise.all([loadConversation(id), refreshQueue()]);
      // What the user has said meanwhile is newer.
      if (isBusy.current) return;
      setMessages(known.messages);
      if (known.active) void resumeStream();
    } catch (problem) {
      onProblem(problem);
    } finally {
      syncing.current = false;
    }
  }, [id, isBusy, setMessages, resumeStream, refreshQueue, onProblem]);

  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) return;
    begun.current = true;
    if (!active) return;
    void resumeStream();
    refreshQueue().catch(onProblem);
  }, [active, resumeStream, refreshQueue, onProblem]);

  return sync;
}
