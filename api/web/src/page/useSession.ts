// Which chat is open: the one in the address, so that it survives a reload and can be kept.

import { useCallback, useEffect, useState } from 'react';

const inAddress = () => new URLSearchParams(location.search).get('session') ?? undefined;

export function useSession() {
  const [session, setSession] = useState(inAddress);

  useEffect(() => {
    const follow = () => setSession(inAddress());
    addEventListener('popstate', follow);
    return () => removeEventListener('popstate', follow);
  }, []);

  const open = useCallback((id: string | undefined) => {
    history.pushState(null, '', id === undefined ? location.pathname : `?session=${encodeURIComponent(id)}`);
    setSession(id);
  }, []);

  return { session, open };
}
