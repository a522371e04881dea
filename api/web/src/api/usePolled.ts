// Something that is asked for again and again, while somebody looks.

import { useCallback, useEffect, useRef, useState } from 'react';

export interface Polled<Value> {
  value: Value | undefined;
  error: unknown;
  /** Asks at once. */
  refresh: () => Promise<void>;
}

/** After how many milliseconds to ask again, if the last so many answers in a row brought nothing new. */
export type Pace<Value> = (value: Value | undefined, quiet: number) => number;

/** `ask` and `pace` must stay the same functions. */
export function usePolled<Value>(ask: () => Promise<Value>, pace: Pace<Value>): Polled<Value> {
  const [state, setState] = useState<{ value?: Value; error?: unknown }>({});
  const newest = useRef(0);
  const known = useRef<{ value?: Value; text?: string; quiet: number }>({ quiet: 0 });

  const once = useCallback(async () => {
    const mine = ++newest.current;
    try {
      const value = await ask();
      // An older answer must not overtake a newer one.
      if (mine !== newest.current) return;
      const text = JSON.stringify(value);
      known.current = { value, text, quiet: text === known.current.text ? known.current.quiet + 1 : 0 };
      setState({ value });
    } catch (error) {
      if (mine !== newest.current) return;
      known.current.quiet += 1;
      setState(({ value }) => ({ ...(value === undefined ? {} : { value }), error }));
    }
  }, [ask]);

  const refresh = useCallback(async () => {
    known.current.quiet = 0;
    await once();
  }, [once]);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let over = false;
    const isSeen = () => document.visibilityState === 'visible';
    const plan = () => {
      clearTimeout(timer);
      if (!over && isSeen()) timer = setTimeout(() => void once().finally(plan), pace(known.current.value, known.current.quiet));
    };
    const whenSeen = () => {
      if (isSeen()) void refresh().finally(plan);
      else clearTimeout(timer);
    };
    whenSeen();
    document.addEventListener('visibilitychange', whenSeen);
    addEventListener('online', whenSeen);
    return () => {
      over = true;
      newest.current += 1;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', whenSeen);
      removeEventListener('online', whenSeen);
    };
  }, [once, refresh, pace]);

  return { value: state.value, error: state.error, refresh };
}

/** Slower by half with each answer that brings nothing new, from `first` up to `longest` milliseconds. */
export const slower = (first: number, longest: number, quiet: number) => Math.min(longest, first * 1.5 ** quiet);
