// Keeps a chat in step with what the API knows: after each answer, when another tab has spoken, at the beginning.

import { type RefObject, useCallback, useEffect, useRef } from 'react';

import { loadConversation, type Stretch } from './load';

interface Parts {
  renew: (newest: Stretch) => void;
  resumeStream: () => Promise<void>;
  refreshQueue: () => Promise<void>;
  isBusy: RefObject<boolean>;
  /** Aborted when the chat is closed. */
  left: AbortSignal;
  onProblem: (problem: unknown) => void;
}

/** `active` is whether something was in flight when the chat was opened. */
export function useSync(id: string, active: boolean, parts: Parts) {
  const { renew, resumeStream, refreshQueue, isBusy, left } = parts;
  const syncing = useRef(false);

  const { onProblem } = parts;
  const tell = useCallback(
    (problem: unknown) => {
      if (!left.aborted) onProblem(problem);
    },
    [left, onProblem],
  );

  const sync = useCallback(async () => {
    if (syncing.current || isBusy.current) return;
    syncing.current = true;
    try {
      const [known] = await Promise.all([loadConversation(id, left), refreshQueue()]);
      // What the user has said meanwhile is newer.
      if (isBusy.current || left.aborted) return;
      renew(known);
      if (known.active) void resumeStream();
    } catch (problem) {
      tell(problem);
    } finally {
      syncing.current = false;
    }
  }, [id, isBusy, renew, resumeStream, refreshQueue, left, tell]);

  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) return;
    begun.current = true;
    if (!active) return;
    void resumeStream();
    refreshQueue().catch(tell);
  }, [active, resumeStream, refreshQueue, tell]);

  return sync;
}
