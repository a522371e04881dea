// A link that a tool named: only to pages, and without telling where it was found.

import type { ReactNode } from 'react';

export function Link({ url, children }: { url: string | undefined; children: ReactNode }) {
  if (!url || !/^https?:\/\//i.test(url)) return <>{children}</>;
  return (
    <a href={url} target="_blank" rel="noreferrer">
      {children}
    </a>
  );
}
