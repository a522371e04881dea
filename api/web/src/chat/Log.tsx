// The messages, kept at their end as long as the user does not look back.

import type { UIMessage } from 'ai';
import { type ReactNode, useLayoutEffect, useRef, useState } from 'react';

import { More } from '../page/More';
import { Message } from './Message';

interface Props {
  messages: UIMessage[];
  /** The last answer is being written. */
  streaming: boolean;
  onSuggest: (text: string) => void;
  /** Puts what was said before in front; nothing if this is the beginning. */
  onEarlier: (() => Promise<unknown>) | undefined;
  /** What stands below the last message. */
  children: ReactNode;
}

/** As close to the end counts as being there. */
const NEAR = 80;

export function Log({ messages, streaming, onSuggest, onEarlier, children }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [away, setAway] = useState(false);
  const last = messages.at(-1);

  function toEnd() {
    box.current?.scrollTo({ top: box.current.scrollHeight });
    setAway(false);
  }

  const first = messages[0]?.id;
  const was = useRef({ first, fromEnd: 0 });
  useLayoutEffect(() => {
    const here = box.current;
    if (!here) return;
    if (!away) here.scrollTo({ top: here.scrollHeight });
    // What comes in front must not push away what is being read.
    else if (first !== was.current.first) here.scrollTo({ top: here.scrollHeight - was.current.fromEnd });
    was.current = { first, fromEnd: here.scrollHeight - here.scrollTop };
  });

  const asked = messages.findLast(({ role }) => role === 'user')?.id;
  useLayoutEffect(() => setAway(false), [asked]);

  return (
    <div className="log-frame">
      <div
        className="log scrolls"
        ref={box}
        role="log"
        // Every word would be read aloud; `Announcer` says what matters.
        aria-live="off"
        aria-label="Conversation"
        tabIndex={0}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
          was.current.fromEnd = scrollHeight - scrollTop;
          setAway(scrollHeight - scrollTop - clientHeight > NEAR);
        }}
      >
        <div className="column">
          {onEarlier && <More name="Earlier messages" count={messages.length} onMore={onEarlier} />}
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
