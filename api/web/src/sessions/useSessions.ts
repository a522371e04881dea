// The chats as far as the user has looked: the newest are asked for again and again, older ones when they are wanted.

import { useCallback, useRef } from 'react';

import { type Polled, slower, usePolled } from '../api/usePolled';
import { listSessions, remove, type SessionPage, type SessionSummary, withNewest, withOlder } from './sessions';

export interface Sessions extends Polled<SessionPage> {
  /** Fetches older ones; nothing if all are known. */
  more: (() => Promise<void>) | undefined;
  remove: (id: string) => Promise<void>;
}

/** So many are asked for twice, in case that as many have been deleted elsewhere meanwhile. */
const OVERLAP = 5;

/** Other tabs tell what they do; this is for other devices, and for answers that end while nobody follows them. */
function pace(page: SessionPage | undefined, quiet: number): number {
  const runs = page?.sessions.some(({ is_processing }) => is_processing) ?? false;
  return runs ? slower(2000, 10_000, quiet) : slower(5000, 60_000, quiet);
}

export function useSessions(): Sessions {
  const known = useRef<SessionSummary[]>([]);

  const ask = useCallback(async (): Promise<SessionPage> => {
    const page = await listSessions(0);
    known.current = withNewest(known.current, page);
    return { sessions: known.current, total: page.total };
  }, []);
  const polled = usePolled(ask, pace);
  const { value, refresh } = polled;

  const more = useCallback(async () => {
    const page = await listSessions(Math.max(0, known.current.length - OVERLAP));
    known.current = withOlder(known.current, page);
    await refresh();
  }, [refresh]);

  return {
    ...polled,
    more: value && value.sessions.length < value.total ? more : undefined,
    remove: useCallback(async (id: string) => {
      await remove(id);
      known.current = known.current.filter((session) => session.id !== id);
    }, []),
  };
}
