// The page: chats on the left, the open one in the middle, the event stream on the right if wanted.

import { useCallback, useState, useSyncExternalStore } from 'react';

import { token } from '../api/token';
import { usePolled } from '../api/usePolled';
import type { Draft } from '../chat/draft';
import { Inspector } from '../inspector/Inspector';
import { createSession, listSessions } from '../sessions/sessions';
import { readUsage } from '../usage/usage';
import { ResetDialog } from '../usage/ResetDialog';
import { Header } from './Header';
import { Main } from './Main';
import { Sidebar } from './Sidebar';
import { SignIn } from './SignIn';
import { useSession } from './useSession';

const LIST_EVERY = 3000;
const USAGE_EVERY = 30_000;

export function App() {
  const signedIn = useSyncExternalStore(token.watch, token.get);
  // Another user's page begins from nothing.
  return signedIn ? <Signed key={signedIn} /> : <SignIn />;
}

function Signed() {
  const { session, open } = useSession();
  const sessions = usePolled(listSessions, LIST_EVERY);
  const usage = usePolled(readUsage, USAGE_EVERY);
  const [menu, setMenu] = useState(false);
  const [inspecting, setInspecting] = useState(false);
  const [resetting, setResetting] = useState(false);
  const [first, setFirst] = useState<{ session: string; draft: Draft }>();

  const { refresh: refreshSessions } = sessions;
  const { refresh: refreshUsage } = usage;
  const onChange = useCallback(() => {
    void refreshSessions();
    void refreshUsage();
  }, [refreshSessions, refreshUsage]);

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

  const summary = sessions.value?.find(({ id }) => id === session);
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
      />
      <div className="middle" inert={menu}>
        <Header
          session={session}
          summary={summary}
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
