// The list of chats, and what can be done to one.

import { answer, api, type Schemas } from '../api/client';

export type SessionSummary = Schemas['SessionSummaryResponse'];

export interface SessionPage {
  sessions: SessionSummary[];
  /** Of all pages. */
  total: number;
}

export const PAGE = 40;

export async function listSessions(offset: number): Promise<SessionPage> {
  return answer(api.GET('/api/chat/sessions', { params: { query: { limit: PAGE, offset } } }));
}

const isIn = (page: readonly SessionSummary[]) => {
  const ids = new Set(page.map(({ id }) => id));
  return ({ id }: SessionSummary) => ids.has(id);
};

/** The newest page in front of what is known below it. What should be on the page and is not, is gone. */
export function withNewest(known: readonly SessionSummary[], { sessions, total }: SessionPage): SessionSummary[] {
  const last = sessions.at(-1);
  if (!last || sessions.length >= total) return sessions;
  const listed = isIn(sessions);
  const below = known.filter((session) => !listed(session) && session.updated_at <= last.updated_at);
  return [...sessions, ...below];
}

/** A page from further down. Where the two overlap, what is known is newer. */
export function withOlder(known: readonly SessionSummary[], { sessions }: SessionPage): SessionSummary[] {
  const listed = isIn(known);
  return [...known, ...sessions.filter((session) => !listed(session))];
}

export async function createSession(): Promise<string> {
  const { id } = await answer(api.POST('/api/chat/sessions'));
  return id;
}

export async function rename(id: string, title: string): Promise<void> {
  await answer(api.PATCH('/api/chat/sessions/{id}/title', { params: { path: { id } }, body: { title } }));
}

export async function remove(id: string): Promise<void> {
  await answer(api.DELETE('/api/chat/sessions/{id}', { params: { path: { id } } }));
}
