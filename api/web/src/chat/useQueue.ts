// What waits behind the running turn of a session.

import { useCallback, useState } from 'react';

import { waitingIn, type Waiting } from './queue';

export function useQueue(id: string, left: AbortSignal) {
  const [queue, setQueue] = useState<Waiting[]>([]);
  const refreshQueue = useCallback(async () => setQueue(await waitingIn(id, left)), [id, left]);
  return { queue, refreshQueue };
}
