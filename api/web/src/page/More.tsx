// The way to what is further down or up: taken by itself when it comes into view, or by hand.

import { useEffect, useRef, useState } from 'react';

interface Props {
  name: string;
  /** How much is there already: when that has grown and this is still in view, it is taken again. */
  count: number;
  onMore: () => Promise<unknown>;
}

/** As far ahead of being seen, so that who scrolls does not wait. */
const AHEAD = '400px';

export function More({ name, count, onMore }: Props) {
  const button = useRef<HTMLButtonElement>(null);
  const [asking, setAsking] = useState(false);
  const take = useRef(() => {});
  take.current = () => {
    if (asking) return;
    setAsking(true);
    void onMore().finally(() => setAsking(false));
  };

  // By itself only once for each count: what failed is tried again by hand.
  const taken = useRef(-1);
  useEffect(() => {
    const here = button.current;
    if (!here || asking || taken.current === count) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
        taken.current = count;
        take.current();
      },
      { root: here.closest('.scrolls'), rootMargin: AHEAD },
    );
    observer.observe(here);
    return () => observer.disconnect();
  }, [count, asking]);

  return (
    <button type="button" ref={button} className="quiet small more" aria-disabled={asking} onClick={() => take.current()}>
      {asking ? 'Loading…' : name}
    </button>
  );
}
