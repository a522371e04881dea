// One conversation: what the AI SDK holds of it, kept in step with what the API knows.

import { useChat } from '@ai-sdk/react';
import { useCallback, useEffect, useRef, useState } from 'react';

import { Problem, Refused } from '../api/problem';
import { StreamGap } from '../wire/resuming';
import { type Draft, draftOf } from './draft';
import type { Conversation } from './load';
import { transport } from './transport';
import { useActions } from './useActions';
import { useEarlier } from './useEarlier';
import { useLeft } from './useLeft';
import { useQueue } from './useQueue';
import { useSync } from './useSync';

/** Words come faster than a page can be drawn. */
const DRAW_EVERY = 50;

/** `onChange` is called when something has changed that others show as well: the list of chats, the usage. */
export function useConversation(id: string, begins: Conversation, onChange: () => void) {
  const [position, setPosition] = useState<number>();
  const [unsent, setUnsent] = useState<Draft>();
  const [problem, setProblem] = useState<unknown>();
  const left = useLeft();
  const { queue, refreshQueue } = useQueue(id, left);
  const refused = useRef(() => {});

  const { messages, setMessages, sendMessage, regenerate, resumeStream, status, error, clearError } = useChat({
    id,
    messages: begins.messages,
    transport,
    throttle: DRAW_EVERY,
    onData: ({ type, data }) => {
      if (type === 'data-status') setPosition((data as { position: number }).position);
    },
    onFinish: () => setPosition(undefined),
    onError: (error) => {
      if (error instanceof Refused) refused.current();
    },
  });
  const busy = status === 'submitted' || status === 'streaming';
  const isBusy = useRef(busy);
  isBusy.current = busy;

  // Of what was not accepted nothing is kept by anybody: it goes back to where it was written.
  refused.current = () => {
    const last = messages.at(-1);
    if (last?.role !== 'user') return;
    setUnsent(draftOf(last));
    setMessages(messages.slice(0, -1));
  };

  const { renew, loadEarlier } = useEarlier(id, begins, { setMessages, left, onProblem: setProblem });
  const sync = useSync(id, begins.active, { renew, resumeStream, refreshQueue, isBusy, left, onProblem: setProblem });
  const dismiss = useCallback(() => {
    setProblem(undefined);
    clearError();
  }, [clearError]);
  const actions = useActions(id, { sendMessage, isBusy, refreshQueue, dismiss, onProblem: setProblem, onChange });

  // A turn has been accepted, or has ended.
  useEffect(onChange, [status, onChange]);

  const wasBusy = useRef(false);
  useEffect(() => {
    if (wasBusy.current === busy) return;
    wasBusy.current = busy;
    // Something else may wait: the API knows.
    if (busy || error instanceof Problem) return;
    if (error instanceof StreamGap) clearError();
    void sync();
  }, [busy, error, clearError, sync]);

  return {
    ...actions,
    messages,
    loadEarlier,
    queue,
    refreshQueue,
    unsent,
    busy,
    position: busy ? position : undefined,
    problem: problem ?? error,
    dismiss,
    sync,
    regenerate: useCallback(() => {
      dismiss();
      void regenerate();
    }, [dismiss, regenerate]),
  };
}
