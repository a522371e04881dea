// Before the first message: what one might ask.

import { useEffect, useRef, useState } from 'react';

import { answer, api, type Schemas } from '../api/client';
import { focusIfKeyboard } from '../page/focus';
import { Composer } from './Composer';
import type { Draft } from './draft';
import { Notice } from './Notice';

type Theme = Schemas['SuggestedTheme'];

/** Where the API suggests nothing yet: what the embedded model can do. */
const FALLBACK: Theme[] = [
  {
    name: 'Try',
    prompts: ['What can you do?', 'What is 12*(3+4)?', 'Run `ls -la`', 'Think aloud and take your time: demo:reasoning=40,rate=20 demo:tokens=300,rate=20'],
  },
];

async function readPrompts(): Promise<Theme[]> {
  const { themes } = await answer(api.GET('/api/chat/suggested-prompts'));
  return themes;
}

export function Welcome({ begin }: { begin: (draft: Draft) => Promise<void> }) {
  const box = useRef<HTMLTextAreaElement>(null);
  const [themes, setThemes] = useState(FALLBACK);
  const [suggested, setSuggested] = useState<Draft>();
  const [problem, setProblem] = useState<unknown>();

  useEffect(() => {
    focusIfKeyboard(box.current);
    // They are a help, not a need: without them the page has its own.
    readPrompts().then(
      (known) => known.length > 0 && setThemes(known),
      () => undefined,
    );
  }, []);

  async function onSend(draft: Draft) {
    setProblem(undefined);
    try {
      await begin(draft);
      return true;
    } catch (error) {
      setProblem(error);
      return false;
    }
  }

  return (
    <>
      <div className="welcome">
        <div className="column">
          <h2>What can I do for you?</h2>
          <p className="faint">Answers go on through a closed tab, a lost connection and a dead server.</p>
          {themes.map(({ name, prompts }) => (
            <section key={name} aria-label={name}>
              {themes.length > 1 && <h3>{name}</h3>}
              <ul className="prompts">
                {prompts.map((prompt) => (
                  <li key={prompt}>
                    <button
                      type="button"
                      onClick={() => {
                        setSuggested({ text: prompt, files: [] });
                        box.current?.focus();
                      }}
                    >
                      {prompt}
                    </button>
                  </li>
                ))}
              </ul>
            </section>
          ))}
        </div>
      </div>
      <div className="foot">
        {problem !== undefined && <Notice problem={problem} onDismiss={() => setProblem(undefined)} />}
        <Composer busy={false} suggested={suggested} box={box} onSend={onSend} onStop={() => undefined} />
      </div>
    </>
  );
}
