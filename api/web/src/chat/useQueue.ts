// What waits behind the running turn of a session.

import { useCallback, useState } from 'react';

import { waitingIn, type Waiting } from './queue';

export function useQueue(id: string) {
  const [queue, setQueue] = useState<Waiting[]>([]);
  const refreshQueue = useCallback(async () => setQueue(await waitingIn(id)), [id]);
  return { queue, refreshQueue };
}
