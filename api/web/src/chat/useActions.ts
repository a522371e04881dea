// What the user can do in a conversation.

import { type RefObject, useCallback } from 'react';

import { answer, api } from '../api/client';
import { nextSubmit } from '../wire/resuming';
import { type Draft, partsOf } from './draft';
import { enqueue, type WhenBusy } from './queue';

interface Parts {
  sendMessage: (message: { parts: ReturnType<typeof partsOf> }) => Promise<void>;
  isBusy: RefObject<boolean>;
  refreshQueue: () => Promise<void>;
  /** Nothing is wrong any more. */
  dismiss: () => void;
  onProblem: (problem: unknown) => void;
  onChange: () => void;
}

export function useActions(id: string, parts: Parts) {
  const { sendMessage, isBusy, refreshQueue, dismiss, onProblem, onChange } = parts;

  /** False if it failed, and the user has been told. */
  const attempt = useCallback(
    async (act: () => Promise<void>): Promise<boolean> => {
      dismiss();
      try {
        await act();
        return true;
      } catch (problem) {
        onProblem(problem);
        return false;
      } finally {
        onChange();
      }
    },
    [dismiss, onProblem, onChange],
  );

  /** False if it was refused: then the draft is still the user's. */
  const send = useCallback(
    async (draft: Draft, whenBusy: WhenBusy): Promise<boolean> => {
      if (isBusy.current) {
        return attempt(async () => {
          await enqueue(id, partsOf(draft), whenBusy);
          await refreshQueue();
        });
      }
      dismiss();
      // The next message must not overtake this one: it waits in line from now on, and is not sent before this one has
      // arrived.
      isBusy.current = true;
      const arrived = nextSubmit();
      await Promise.race([arrived, sendMessage({ parts: partsOf(draft) })]);
      return true;
    },
    [id, isBusy, attempt, dismiss, sendMessage, refreshQueue],
  );

  /** The SDK's own stop would only close the connection. */
  const stop = useCallback(
    () =>
      attempt(async () => {
        await answer(api.POST('/api/chat/sessions/{id}/cancel', { params: { path: { id } } }));
      }),
    [attempt, id],
  );

  return { attempt, send, stop };
}
