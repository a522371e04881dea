// A conversation as the API keeps it.

import type { UIMessage } from 'ai';

import { answer, api } from '../api/client';

export interface Conversation {
  title: string | undefined;
  /** A turn is in flight: following it brings the rest. */
  active: boolean;
  messages: UIMessage[];
}

/** The newest messages of a page. */
const PAGE = 200;

export async function loadConversation(id: string): Promise<Conversation> {
  const path = { id };
  // In this order: a turn that ends in between is then among the messages, and following it answers "nothing".
  const detail = await answer(api.GET('/api/chat/sessions/{id}', { params: { path, query: { limit: 1 } } }));
  const messages = await answer(
    api.GET('/api/chat/sessions/{id}', { params: { path, query: { limit: PAGE, format: 'ui' } } }),
  );
  if (Array.isArray(detail) || !Array.isArray(messages)) throw new Error('The conversation has an unknown shape.');
  return {
    title: detail.title ?? undefined,
    active: detail.active_stream !== null,
    messages: messages as UIMessage[],
  };
}
