// The messages, kept at their end as long as the user does not look back.

import type { UIMessage } from 'ai';
import { type ReactNode, useLayoutEffect, useRef, useState } from 'react';

import { Message } from './Message';

interface Props {
  messages: UIMessage[];
  /** The last answer is being written. */
  streaming: boolean;
  onSuggest: (text: string) => void;
  /** What stands below the last message. */
  children: ReactNode;
}

/** As close to the end counts as being there. */
const NEAR = 80;

export function Log({ messages, streaming, onSuggest, children }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [away, setAway] = useState(false);
  const last = messages.at(-1);

  function toEnd() {
    box.current?.scrollTo({ top: box.current.scrollHeight });
    setAway(false);
  }

  useLayoutEffect(() => {
    if (!away) box.current?.scrollTo({ top: box.current.scrollHeight });
  });

  const asked = messages.findLast(({ role }) => role === 'user')?.id;
  useLayoutEffect(() => setAway(false), [asked]);

  return (
    <div className="log-frame">
      <div
        className="log"
        ref={box}
        role="log"
        // Every word would be read aloud; `Announcer` says what matters.
        aria-live="off"
        aria-label="Conversation"
        tabIndex={0}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) =>
          setAway(scrollHeight - scrollTop - clientHeight > NEAR)
        }
      >
        <div className="column">
          {messages.map((message) => (
            <Message
              key={message.id}
              message={message}
              streaming={streaming && message === last && message.role === 'assistant'}
              onSuggest={onSuggest}
            />
          ))}
          {children}
        </div>
      </div>
      {away && (
        <button type="button" className="to-end" onClick={toEnd}>
          Newest ↓
        </button>
      )}
    </div>
  );
}
