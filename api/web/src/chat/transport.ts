// How the AI SDK talks to the API: the routes of a session, the last message only, and a key for each submit.

import { DefaultChatTransport, type UIMessage } from 'ai';

import { token } from '../api/token';
import { resumingFetch } from '../wire/resuming';
import { newKey } from './newKey';

export const streamOf = (session: string) => `/api/chat/sessions/${session}/stream`;

export const transport = new DefaultChatTransport<UIMessage>({
  fetch: resumingFetch,
  headers: () => ({ authorization: `Bearer ${token.get()}` }),
  prepareSendMessagesRequest: ({ id, messages, trigger, messageId, headers }) => ({
    api: streamOf(id),
    headers: { ...(headers as Record<string, string>), 'idempotency-key': newKey() },
    // The API keeps the conversation; it reads no more than this.
    body: { id, messages: messages.slice(-1), trigger, messageId },
  }),
  prepareReconnectToStreamRequest: ({ id }) => ({ api: streamOf(id) }),
});
