// A conversation as the API keeps it.

import type { UIMessage } from 'ai';

import { answer, api } from '../api/client';

/** A stretch of a conversation. */
export interface Stretch {
  messages: UIMessage[];
  /** Where the one before it ends; none if this is the beginning. */
  before: number | undefined;
}

export interface Conversation extends Stretch {
  title: string | undefined;
  /** A turn is in flight: following it brings the rest. */
  active: boolean;
}

/** How many rows one stretch has; an answer with tools has several. */
const ROWS = 60;

export async function loadStretch(id: string, before: number | undefined, signal: AbortSignal): Promise<Stretch> {
  const query = { limit: ROWS, format: 'ui' as const, ...(before === undefined ? {} : { before_sequence: before }) };
  const asked = api.GET('/api/chat/sessions/{id}', { params: { path: { id }, query }, signal });
  const messages = await answer(asked);
  if (!Array.isArray(messages)) throw new Error('The conversation has an unknown shape.');
  const { headers } = (await asked).response;
  const more = headers.get('x-has-more-messages') === 'true';
  return { messages: messages as UIMessage[], before: more ? Number(headers.get('x-oldest-sequence')) : undefined };
}

/** What is in flight, and the newest stretch. */
export async function loadConversation(id: string, signal: AbortSignal): Promise<Conversation> {
  // In this order: a turn that ends in between is then among the messages, and following it answers "nothing".
  const detail = await answer(
    api.GET('/api/chat/sessions/{id}', { params: { path: { id }, query: { limit: 1 } }, signal }),
  );
  if (Array.isArray(detail)) throw new Error('The conversation has an unknown shape.');
  const newest = await loadStretch(id, undefined, signal);
  return { ...newest, title: detail.title ?? undefined, active: detail.active_stream !== null };
}

/** The newest stretch in the place of what was known of it. If the two do not meet, what was known is given up. */
export function renewed(known: Stretch, newest: Stretch): Stretch {
  const first = newest.messages[0]?.id;
  const at = known.messages.findIndex(({ id }) => id === first);
  return at > 0 ? { messages: [...known.messages.slice(0, at), ...newest.messages], before: known.before } : newest;
}
