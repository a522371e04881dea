// Something that is asked for again and again, while somebody looks.

import { useCallback, useEffect, useRef, useState } from 'react';

export interface Polled<Value> {
  value: Value | undefined;
  error: unknown;
  refresh: () => Promise<void>;
}

export function usePolled<Value>(ask: () => Promise<Value>, milliseconds: number): Polled<Value> {
  const [state, setState] = useState<{ value?: Value; error?: unknown }>({});
  const newest = useRef(0);

  const refresh = useCallback(async () => {
    const mine = ++newest.current;
    try {
      const value = await ask();
      // An older answer must not overtake a newer one.
      if (mine === newest.current) setState({ value });
    } catch (error) {
      if (mine === newest.current) setState(({ value }) => ({ ...(value === undefined ? {} : { value }), error }));
    }
  }, [ask]);

  useEffect(() => {
    const whenSeen = () => {
      if (document.visibilityState === 'visible') void refresh();
    };
    whenSeen();
    const timer = setInterval(whenSeen, milliseconds);
    document.addEventListener('visibilitychange', whenSeen);
    return () => {
      newest.current += 1;
      clearInterval(timer);
      document.removeEventListener('visibilitychange', whenSeen);
    };
  }, [refresh, milliseconds]);

  return { value: state.value, error: state.error, refresh };
}
