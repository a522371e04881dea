// Messages that wait behind the running turn.

import type { UIMessage } from 'ai';

import { answer, api, type Schemas } from '../api/client';
import { newKey } from './newKey';

export type Waiting = Schemas['QueuedMessage'];

/** What a message does while an answer is being written. */
export type WhenBusy = 'enqueue' | 'steer' | 'interrupt';

export async function waitingIn(id: string, signal: AbortSignal): Promise<Waiting[]> {
  const { queue } = await answer(api.GET('/api/chat/sessions/{id}/queue', { params: { path: { id } }, signal }));
  return queue;
}

/** The same body as the AI SDK's, so that files come along. */
export async function enqueue(id: string, parts: UIMessage['parts'], whenBusy: WhenBusy): Promise<void> {
  const message = { id: newKey(), role: 'user', parts };
  await answer(
    api.POST('/api/chat/sessions/{id}/messages', {
      params: { path: { id }, header: { 'Idempotency-Key': newKey() } },
      body: { id, messages: [message], trigger: 'submit-message', on_busy: whenBusy },
    }),
  );
}

export async function rewrite(id: string, turn: string, message: string): Promise<void> {
  const path = { id, turn_id: turn };
  await answer(api.PATCH('/api/chat/sessions/{id}/queue/{turn_id}', { params: { path }, body: { message } }));
}

export async function drop(id: string, turn: string): Promise<void> {
  await answer(api.DELETE('/api/chat/sessions/{id}/queue/{turn_id}', { params: { path: { id, turn_id: turn } } }));
}
