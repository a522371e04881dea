// The page: chats on the left, the open one in the middle, the event stream on the right if wanted.

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';

import { tellTabs, whenTold } from '../api/tabs';
import { token } from '../api/token';
import { slower, usePolled } from '../api/usePolled';
import type { Draft } from '../chat/draft';
import { Inspector } from '../inspector/Inspector';
import { createSession } from '../sessions/sessions';
import { useSessions } from '../sessions/useSessions';
import { readUsage } from '../usage/usage';
import { ResetDialog } from '../usage/ResetDialog';
import { Header } from './Header';
import { Main } from './Main';
import { Sidebar } from './Sidebar';
import { SignIn } from './SignIn';
import { useSession } from './useSession';

/** It is told when this user's answers begin and end; this is for what other devices do. */
const usagePace = (_usage: unknown, quiet: number) => slower(30_000, 300_000, quiet);

export function App() {
  const signedIn = useSyncExternalStore(token.watch, token.get);
  // Another user's page begins from nothing.
  return signedIn ? <Signed key={signedIn} /> : <SignIn />;
}

function Signed() {
  const { session, open } = useSession();
  const sessions = useSessions();
  const usage = usePolled(readUsage, usagePace);
  const [menu, setMenu] = useState(false);
  const [inspecting, setInspecting] = useState(false);
  const [resetting, setResetting] = useState(false);
  const [opened, setOpened] = useState<{ session: string; title: string | undefined }>();
  const [first, setFirst] = useState<{ session: string; draft: Draft }>();

  const { refresh: refreshSessions } = sessions;
  const { refresh: refreshUsage } = usage;
  const soon = useRef<ReturnType<typeof setTimeout>>(undefined);
  const look = useCallback(() => {
    // One thing that happens is told by several.
    clearTimeout(soon.current);
    soon.current = setTimeout(() => {
      void refreshSessions();
      void refreshUsage();
    }, 100);
  }, [refreshSessions, refreshUsage]);
  const onChange = useCallback(() => {
    look();
    tellTabs();
  }, [look]);
  useEffect(() => whenTold(look), [look]);

  const onOpen = useCallback(
    (id: string | undefined) => {
      setMenu(false);
      open(id);
    },
    [open],
  );

  const begin = useCallback(
    async (draft: Draft) => {
      const id = await createSession();
      setFirst({ session: id, draft });
      open(id);
    },
    [open],
  );

  const summary = sessions.value?.sessions.find(({ id }) => id === session);
  return (
    <div className={`page${menu ? ' with-menu' : ''}${inspecting ? ' with-inspector' : ''}`}>
      <a className="skip" href="#main">
        Skip to the chat
      </a>
      <Sidebar
        sessions={sessions}
        usage={usage}
        current={session}
        open={menu}
        onOpen={onOpen}
        onReset={() => setResetting(true)}
        onClose={() => setMenu(false)}
        onChange={onChange}
      />
      <div className="middle" inert={menu}>
        <Header
          session={session}
          title={summary ? summary.title : opened?.session === session ? opened?.title : undefined}
          inspecting={inspecting}
          menu={menu}
          onMenu={() => setMenu(true)}
          onInspect={() => setInspecting((now) => !now)}
          onRenamed={onChange}
        />
        <Main
          session={session}
          summary={summary}
          first={first}
          begin={begin}
          onOpened={setOpened}
          onChange={onChange}
          onReset={() => setResetting(true)}
        />
      </div>
      {inspecting && <Inspector onClose={() => setInspecting(false)} />}
      {resetting && usage.value && (
        <ResetDialog usage={usage.value} onDone={onChange} onClose={() => setResetting(false)} />
      )}
    </div>
  );
}
