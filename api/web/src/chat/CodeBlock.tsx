// A block of code that can be copied.

import { type ReactNode, useRef, useState } from 'react';

export function CodeBlock({ children }: { children: ReactNode }) {
  const block = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState(false);

  async function copy() {
    await navigator.clipboard.writeText(block.current?.textContent ?? '');
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  }

  return (
    <div className="code">
      <pre ref={block} tabIndex={0}>
        {children}
      </pre>
      {navigator.clipboard && (
        <button type="button" className="quiet small" onClick={() => void copy()}>
          {copied ? 'Copied' : 'Copy'}
        </button>
      )}
    </div>
  );
}
