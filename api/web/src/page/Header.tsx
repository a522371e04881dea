// The open chat's name, and what can be shown beside it.

import { useEffect, useRef, useState } from 'react';

import { sentenceOf } from '../api/problem';
import { RenameForm } from '../sessions/RenameForm';
import { UNNAMED } from '../sessions/SessionList';
import { rename } from '../sessions/sessions';

interface Props {
  session: string | undefined;
  /** None as long as the chat has none, or nobody knows it yet. */
  title: string | null | undefined;
  inspecting: boolean;
  /** The list of chats lies over everything, on a phone. */
  menu: boolean;
  onMenu: () => void;
  onInspect: () => void;
  onRenamed: () => void;
}

export function Header({ session, title: name, inspecting, menu, onMenu, onInspect, onRenamed }: Props) {
  const [renaming, setRenaming] = useState(false);
  const [trouble, setTrouble] = useState('');
  const title = name ?? UNNAMED;

  useEffect(() => {
    document.title = session ? `${title} · Copilot` : 'Copilot';
  }, [session, title]);
  useEffect(() => {
    setRenaming(false);
    setTrouble('');
  }, [session]);

  const opener = useRef<HTMLButtonElement>(null);
  const wasOpen = useRef(menu);
  useEffect(() => {
    if (wasOpen.current && !menu) opener.current?.focus();
    wasOpen.current = menu;
  }, [menu]);

  return (
    <header className="bar">
      <button type="button" ref={opener} className="quiet menu" aria-label="Chats" aria-expanded={menu} onClick={onMenu}>
        ☰
      </button>
      {renaming && session ? (
        <RenameForm
          title={title}
          onCancel={() => setRenaming(false)}
          onRename={(next) => {
            setRenaming(false);
            setTrouble('');
            rename(session, next)
              .catch((error: unknown) => setTrouble(sentenceOf(error)))
              .finally(onRenamed);
          }}
        />
      ) : (
        <h2>
          {session ? (
            <button type="button" className="quiet" title="Rename" aria-label={`Rename ${title}`} onClick={() => setRenaming(true)}>
              {title}
            </button>
          ) : (
            title
          )}
        </h2>
      )}
      {trouble && (
        <span className="bad" role="alert">
          {trouble}
        </span>
      )}
      <span className="gap" />
      <button type="button" className="quiet" aria-pressed={inspecting} onClick={onInspect}>
        Events
      </button>
      <a className="quiet wide" href="/docs">
        API docs
      </a>
    </header>
  );
}
