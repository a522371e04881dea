// One conversation: what the AI SDK holds of it, kept in step with what the API knows.

import { useChat } from '@ai-sdk/react';
import type { FileUIPart, UIMessage } from 'ai';
import { useCallback, useEffect, useRef, useState } from 'react';

import { answer, api } from '../api/client';
import { Problem } from '../api/problem';
import { StreamGap } from '../wire/resuming';
import type { Conversation } from './load';
import { loadConversation } from './load';
import { enqueue, waitingIn, type Waiting, type WhenBusy } from './queue';
import { transport } from './transport';
import { textOf } from './visible';

export interface Draft {
  text: string;
  files: FileUIPart[];
}

const partsOf = ({ text, files }: Draft): UIMessage['parts'] => [...files, ...(text ? [{ type: 'text' as const, text }] : [])];

/** Words come faster than a page can be drawn. */
const DRAW_EVERY = 50;

interface Happenings {
  /** Something has changed that others show as well: the list of chats, the usage. */
  onChange: () => void;
}

export function useConversation(id: string, begins: Conversation, { onChange }: Happenings) {
  const [position, setPosition] = useState<number>();
  const [queue, setQueue] = useState<Waiting[]>([]);
  const [problem, setProblem] = useState<unknown>();
  const [unsent, setUnsent] = useState<Draft>();
  const syncing = useRef(false);
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
      if (error instanceof Problem) refused.current();
    },
  });
  // Of what was not accepted nothing is kept by anybody: it goes back to where it was written.
  refused.current = () => {
    const last = messages.at(-1);
    if (last?.role !== 'user') return;
    setUnsent({ text: textOf(last), files: last.parts.filter((part) => part.type === 'file') });
    setMessages(messages.slice(0, -1));
  };
  const busy = status === 'submitted' || status === 'streaming';
  const isBusy = useRef(busy);
  isBusy.current = busy;

  /** Takes over what the API knows, and follows what is in flight. */
  const sync = useCallback(async () => {
    if (syncing.current || isBusy.current) return;
    syncing.current = true;
    try {
      const [known, waiting] = await Promise.all([loadConversation(id), waitingIn(id)]);
      if (isBusy.current) return;
      setQueue(waiting);
      setMessages(known.messages);
      if (known.active) void resumeStream();
    } catch (error) {
      setProblem(error);
    } finally {
      syncing.current = false;
    }
  }, [id, setMessages, resumeStream]);

  const refreshQueue = useCallback(async () => setQueue(await waitingIn(id)), [id]);

  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) return;
    begun.current = true;
    if (begins.active) {
      void resumeStream();
      void refreshQueue().catch(setProblem);
    }
  }, [begins.active, resumeStream, refreshQueue]);

  const wasBusy = useRef(false);
  useEffect(() => {
    if (wasBusy.current === busy) return;
    wasBusy.current = busy;
    onChange();
    // Something else may wait: the API knows.
    if (busy || error instanceof Problem) return;
    if (error instanceof StreamGap) clearError();
    void sync();
  }, [busy, error, clearError, onChange, sync]);

  const attempt = useCallback(
    async (act: () => Promise<void>) => {
      setProblem(undefined);
      try {
        await act();
      } catch (error) {
        setProblem(error);
      }
      onChange();
    },
    [onChange],
  );

  return {
    messages,
    queue,
    unsent,
    busy,
    status,
    position: busy ? position : undefined,
    problem: problem ?? error,
    sync,
    attempt,
    refreshQueue,
    dismiss: useCallback(() => {
      setProblem(undefined);
      clearError();
    }, [clearError]),
    /** False if it was refused: then the draft is still the user's. */
    send: useCallback(
      async (draft: Draft, whenBusy: WhenBusy): Promise<boolean> => {
        setProblem(undefined);
        clearError();
        if (!isBusy.current) {
          void sendMessage({ parts: partsOf(draft) });
          return true;
        }
        try {
          await enqueue(id, partsOf(draft), whenBusy);
          await refreshQueue();
          return true;
        } catch (error) {
          setProblem(error);
          return false;
        }
      },
      [id, sendMessage, clearError, refreshQueue],
    ),
    /** The SDK's own stop would only close the connection. */
    stop: useCallback(
      () =>
        attempt(async () => {
          await answer(api.POST('/api/chat/sessions/{id}/cancel', { params: { path: { id } } }));
        }),
      [attempt, id],
    ),
    regenerate: useCallback(() => {
      setProblem(undefined);
      void regenerate();
    }, [regenerate]),
  };
}
