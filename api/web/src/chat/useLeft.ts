// Tells what still runs that nobody waits for it any more.

import { useEffect, useRef } from 'react';

/** Aborted when its component is gone. */
export function useLeft(): AbortSignal {
  const left = useRef<AbortController>(undefined);
  left.current ??= new AbortController();
  const { current } = left;
  useEffect(() => () => current.abort(), [current]);
  return current.signal;
}
